//! Objects of user space that maps can hold, besides maps and programs.

use skep_maps::{Cgroup, Descriptor, Socket, SocketDef, XdpSocket};

use crate::{Error, Vm};

impl Vm {
    /// Opens an AF_XDP socket that is bound to a receive queue: its number goes into maps of
    /// type XSKMAP. It is closed when the descriptor is dropped, and then leaves all maps.
    ///
    /// # Errors
    ///
    /// [`Error::Memory`] when guest memory is full.
    pub fn xdp_socket(&self, queue: u32) -> Result<Descriptor<XdpSocket>, Error> {
        let world = self.inner.machine.world();
        Ok(Descriptor::open(world, XdpSocket::new(world, queue)?))
    }

    /// Opens a socket: its number goes into maps of types SOCKMAP, SOCKHASH and
    /// REUSEPORT_SOCKARRAY, from which user space reads its cookie. It is closed when the
    /// descriptor is dropped, and then leaves all maps. No bytes go through it.
    ///
    /// ```
    /// use skep::{Map, MapDef, MapType, SocketDef, Vm};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let vm = Vm::builder().build()?;
    /// let def = MapDef {
    ///     name: "listeners".to_owned(),
    ///     map_type: MapType::Sockmap.id(),
    ///     key_size: 4,
    ///     value_size: 8,
    ///     max_entries: 1,
    ///     ..MapDef::default()
    /// };
    /// let listeners = Map::create(&vm, &def)?;
    /// let socket = vm.socket(SocketDef::tcp_listener("127.0.0.1:80".parse()?))?;
    /// listeners.update(&0u32, &u64::from(socket.number()), 0)?;
    /// assert_eq!(listeners.lookup::<_, u64>(&0u32)?, Some(socket.object().cookie()));
    ///
    /// drop(socket);
    /// assert_eq!(listeners.lookup::<_, u64>(&0u32)?, None);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Memory`] when guest memory is full.
    pub fn socket(&self, def: SocketDef) -> Result<Descriptor<Socket>, Error> {
        let world = self.inner.machine.world();
        Ok(Descriptor::open(world, Socket::new(world, def)?))
    }

    /// Opens a cgroup: its number goes into maps of type CGROUP_ARRAY, which keep it when
    /// the descriptor is dropped.
    ///
    /// ```
    /// use skep::{Cgroup, FixedHost, Input, Map, MapDef, MapType, Vm, isa};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let web = Cgroup::root().child(100);
    /// let host = FixedHost::default().with_cgroup(web.child(101));
    /// let vm = Vm::builder().host(host).build()?;
    /// let def = MapDef {
    ///     name: "watched".to_owned(),
    ///     map_type: MapType::CgroupArray.id(),
    ///     key_size: 4,
    ///     value_size: 4,
    ///     max_entries: 1,
    ///     ..MapDef::default()
    /// };
    /// let watched = Map::create(&vm, &def)?;
    /// watched.update(&0u32, &vm.cgroup(web).number(), 0)?;
    ///
    /// let insns = isa::assemble("lddw map_idx %r1, 0\nmov %r2, 0\ncall 37\nexit")?;
    /// let program = vm.program_from_insns("is_watched", None, &insns, &[watched])?;
    /// assert_eq!(vm.runner()?.run(&program, Input::none())?.retval, 1);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn cgroup(&self, cgroup: Cgroup) -> Descriptor<Cgroup> {
        Descriptor::open(self.inner.machine.world(), cgroup)
    }
}
