//! `vp-attach`: join standard input and output to a peer.

use std::process::ExitCode;

use vp::cli::args::Attach;

fn main() -> ExitCode {
    vp::cli::main::<Attach>()
}
