//! Other processors: what every node must agree on to the bit, run in static builds for a Raspberry Pi's under qemu.
//!
//! Codec 3 is the reason: coder and decoder must come to the same probabilities everywhere, on 32 bits as on 64.

use crate::cargo::{cargo, target_dir};
use crate::run::{Failure, run as command};
use crate::tree::Tree;

/// A processor that is not the builder's: the name of its target, what links for it, its C compiler and its qemu, and flags for a static build.
struct Processor {
    target: &'static str,
    cc: &'static str,
    linker: &'static str,
    qemu: &'static str,
    flags: &'static str,
}

/// Debian's `gcc-arm-linux-gnueabihf libc6-dev-armhf-cross gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user-static` bring all of it.
const PROCESSORS: &[Processor] = &[
    Processor {
        target: "armv7-unknown-linux-gnueabihf",
        cc: "arm-linux-gnueabihf-gcc",
        linker: "arm-linux-gnueabihf-gcc",
        qemu: "qemu-arm-static",
        flags: "-C target-feature=+crt-static",
    },
    Processor {
        target: "aarch64-unknown-linux-musl",
        cc: "aarch64-linux-gnu-gcc",
        linker: "rust-lld",
        qemu: "qemu-aarch64-static",
        flags: "-C target-feature=+crt-static",
    },
];

/// `cargo xtask arch`.
pub fn run(tree: &Tree, _: &[String]) -> Result<String, Failure> {
    for processor in PROCESSORS {
        let mut test = cargo(tree);
        test.args(["test", "--locked", "--package", "bundle-format", "--test", "mix", "--test", "fixtures", "--target", processor.target]);
        test.arg("--target-dir").arg(target_dir(tree).join("arch"));
        let name = processor.target.replace('-', "_");
        let of_cargo = format!("CARGO_TARGET_{}", name.to_uppercase());
        test.env(format!("CC_{name}"), processor.cc);
        test.env(format!("{of_cargo}_LINKER"), processor.linker);
        test.env(format!("{of_cargo}_RUNNER"), processor.qemu);
        test.env(format!("{of_cargo}_RUSTFLAGS"), processor.flags);
        test.env("PROPTEST_CASES", "4"); // an emulator takes ten times as long
        command(&mut test)?;
    }
    Ok("the fixtures say the same on every processor that was tried".to_owned())
}
