//! `vp-recv`: receive a stream, files or directories from a peer.

use std::process::ExitCode;

use vp::cli::args::Recv;

fn main() -> ExitCode {
    vp::cli::main::<Recv>()
}
