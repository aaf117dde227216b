//! What the context's fields hold, and what a caller may put there.

use skep_oracle::asm::{Asm, DW, R1, R2, R3, R6, R7, SUB, W};
use skep_oracle::recorded::Case;
use skep_vm::Input;

use crate::lab::{Lab, counting};
use crate::probe::Probe;
use crate::section::{Section, sections};
use crate::text::{asked32, list, number, unhex};
use skep_oracle::fields::{Field, named, width};

/// The packet of a name.
fn packet(name: &str) -> Vec<u8> {
    let first = sections("context-defaults").swap_remove(0);
    let case = first.cases.iter().find(|case| case.question[1] == name);
    unhex(case.unwrap_or_else(|| panic!("no packet `{name}`")).answer[0])
}

fn reader<'l>(lab: &'l Lab, prog_type: &str, (_, offset, size): Field) -> Probe<'l> {
    let body = |asm: &mut Asm| {
        asm.ldx(width(size), R1, R6, offset).stx(DW, R7, 0, R1);
    };
    Probe::new(lab, prog_type, &[], body).expect("it is well-formed")
}

/// The fields that the program reads; the recording names them.
pub(crate) fn defaults(section: &Section) -> Vec<String> {
    let lab = Lab::new();
    let answer = |case: &Case<'_>| {
        if case.question[0] == "packet" {
            return case.answer.join(" ");
        }
        let prog_type = case.question[0];
        let input = Input::packet(packet(case.asked("packet").expect("a packet")));
        let fields = case.answer.iter().filter_map(|word| word.split_once('='));
        let fields: Vec<&str> = fields.map(|(name, _)| name).collect();
        if fields.is_empty() {
            let empty = Probe::new(&lab, prog_type, &[], |_| ()).expect("it is empty");
            return empty.run(&input).map_or_else(|ended| ended, |_| "ok".to_owned());
        }
        let read = |name: &&str| {
            let probe = reader(&lab, prog_type, named(prog_type, name));
            match probe.run(&input) {
                Ok((_, words)) => format!("{name}={:x}", words[0]),
                Err(ended) => format!("{name}:{ended}"),
            }
        };
        fields.iter().map(read).collect::<Vec<_>>().join(" ")
    };
    section.cases.iter().map(answer).collect()
}

pub(crate) fn inputs(section: &Section) -> Vec<String> {
    let lab = Lab::new();
    let ipv4 = packet("ipv4");
    let answer = |case: &Case<'_>| {
        if case.asked("size").is_some() || case.question.iter().any(|w| w.starts_with("ctx_out.")) {
            return "takes fields by name".to_owned();
        }
        match case.question[1] {
            "all-zero" => all_zero(&lab, case, &ipv4),
            _ if case.question[0] == "xdp" => xdp(&lab, case),
            _ => set(&lab, case, &ipv4),
        }
    };
    section.cases.iter().map(answer).collect()
}

fn all_zero(lab: &Lab, case: &Case<'_>, packet: &[u8]) -> String {
    let field = named(case.question[0], case.asked("reads").expect("a field"));
    match reader(lab, case.question[0], field).run(&Input::packet(packet).set("mark", 0)) {
        Ok((_, words)) => format!("seen={:#x} out={:#x}", words[0], out(lab, field)),
        Err(ended) => ended,
    }
}

/// A field as it stands in the context afterwards.
fn out(lab: &Lab, (_, offset, size): Field) -> u64 {
    let context = lab.runner.borrow().context_out();
    let at = usize::try_from(offset).expect("positive");
    let mut word = [0; 8];
    word[..usize::from(size)].copy_from_slice(&context[at..at + usize::from(size)]);
    u64::from_le_bytes(word)
}

fn set(lab: &Lab, case: &Case<'_>, packet: &[u8]) -> String {
    let (name, value) = case.asked("set").and_then(|set| set.split_once(':')).expect("a field");
    let field = named(case.question[0], name);
    let input = Input::packet(packet).set(name, number(value));
    let empty = Probe::new(lab, case.question[0], &[], |_| ()).expect("it is empty");
    if let Err(ended) = empty.run(&input) {
        return ended;
    }
    match reader(lab, case.question[0], field).run(&input) {
        Ok((_, words)) => format!("ok seen={:#x} out={:#x}", words[0], out(lab, field)),
        // The type may not read the field.
        Err(_) => {
            empty.run(&input).expect("it ran before");
            format!("ok out={:#x}", out(lab, field))
        }
    }
}

/// Words: data - data_meta, data_end - data, ingress_ifindex, rx_queue_index.
fn xdp(lab: &Lab, case: &Case<'_>) -> String {
    let body = |asm: &mut Asm| {
        asm.ldx(W, R1, R6, 0).ldx(W, R2, R6, 4).ldx(W, R3, R6, 8);
        asm.alu64_reg(SUB, R2, R1).stx(DW, R7, 8, R2);
        asm.alu64_reg(SUB, R1, R3).stx(DW, R7, 0, R1);
        asm.ldx(W, R1, R6, 12).stx(DW, R7, 16, R1);
        asm.ldx(W, R1, R6, 16).stx(DW, R7, 24, R1);
    };
    let probe = Probe::new(lab, "xdp", &[], body).expect("it is well-formed");
    let len = asked32(case, "data_in", 0);
    let mut input = Input::packet(counting(len as usize));
    let sets = case.question.iter().filter_map(|word| word.strip_prefix("set=")?.split_once(':'));
    for (field, value) in sets {
        // The kernel wants the packet's end; skep knows it.
        if (field, number(value)) != ("data_end", len.into()) {
            input = input.set(field, number(value));
        }
    }
    match probe.run(&input) {
        Ok((_, words)) => {
            let runner = lab.runner.borrow();
            let context = runner.context_out();
            let out = context.as_chunks::<4>().0.iter();
            let out: Vec<String> = out.map(|&w| u32::from_le_bytes(w).to_string()).collect();
            format!(
                "ok seen.data-data_meta={} seen.data_end-data={} seen.ingress_ifindex={} \
                 seen.rx_queue_index={} out.xdp_md={} out.size={}",
                words[0],
                words[1],
                words[2],
                words[3],
                list(&out),
                runner.packet_out().map_or(0, |packet| packet.len())
            )
        }
        Err(ended) => ended,
    }
}
