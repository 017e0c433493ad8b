//! `vp-relay`: let peers behind firewalls meet, blindly.

use std::process::ExitCode;

use vp::cli::args::Relay;

fn main() -> ExitCode {
    vp::cli::main::<Relay>()
}
