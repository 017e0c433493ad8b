//! `vp-portrep`: replicate TCP ports of one network in another.

use std::process::ExitCode;

use vp::cli::args::Portrep;

fn main() -> ExitCode {
    vp::cli::main::<Portrep>()
}
