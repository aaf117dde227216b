//! Objects of user space that maps can hold, besides maps and programs.

use skep_maps::{Descriptor, XdpSocket};

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
}
