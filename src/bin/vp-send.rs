//! `vp-send`: send files, directories or a stream to a peer.

use std::process::ExitCode;

use vp::cli::args::Send;

fn main() -> ExitCode {
    vp::cli::main::<Send>()
}
