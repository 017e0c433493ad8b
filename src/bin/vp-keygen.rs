//! `vp-keygen`: make a key, or show the id of one.

use std::process::ExitCode;

use vp::cli::args::Keygen;

fn main() -> ExitCode {
    vp::cli::main::<Keygen>()
}
