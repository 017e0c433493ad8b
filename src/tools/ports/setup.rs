//! What `vp-portrep` is asked to do, and why it cannot even begin.

use super::exports::Export;
use super::import::Import;
use super::targets::Target;
use crate::names::AppName;
use crate::net::accept::raise_descriptor_limit;
use crate::net::endpoint::Endpoint;
use crate::net::options::Keepalive;
use crate::net::passed::Passed;
use crate::net::program::{self, Missing};
use crate::net::socket_file::ListenError;
use crate::node::Wait;
use crate::ports::ProxyVersion;
use crate::run::callers::Reload;
use std::ffi::OsString;
use std::num::NonZeroU64;

/// Descriptors for everything that is neither a connection nor a listener.
const DESCRIPTORS_KEPT: usize = 64;
/// Connections at a time, unless the user or the descriptors say less: eight sessions full of streams, so that one peer
/// meets the limit of its session before it meets that of all.
const CONNECTIONS_MAX: usize = 8 * 8192;

/// What `vp-portrep` was asked to do.
pub(crate) struct Options {
    /// Ports to listen on.
    pub imports: Vec<Import>,
    /// Ports to serve.
    pub exports: Vec<Export>,
    /// Sockets that listen already: for the imports that are where they are, or have their names.
    pub passed: Vec<Passed>,
    /// Listens only while the far side serves.
    pub listen_when_up: bool,
    /// What targets are told of who connects.
    pub proxy: Option<ProxyVersion>,
    /// Bytes a second each way.
    pub limit: Option<NonZeroU64>,
    /// When silent connections of applications and targets are asked whether they are still there.
    pub keepalive: Keepalive,
    /// Connections at a time.
    pub max_connections: Option<usize>,
    /// A program and its arguments, to be run once every mapping works; or nothing.
    pub run: Vec<OsString>,
    /// How long that may take.
    pub wait: Wait,
    /// Sessions of callers at once, as the node was told.
    pub callers_max: usize,
    /// What SIGHUP does.
    pub reload: Reload,
}

impl Options {
    /// Connections at a time: what was asked for, as far as the descriptors beside the listeners allow it.
    pub(crate) fn most_connections(&self) -> usize {
        let all = usize::try_from(raise_descriptor_limit()).unwrap_or(usize::MAX);
        let spare = all.saturating_sub(DESCRIPTORS_KEPT + self.imports.len());
        self.max_connections.unwrap_or(CONNECTIONS_MAX).min(spare)
    }

    /// Looks for the program that is to be run, if there is one.
    ///
    /// # Errors
    /// It could not be run when its time comes.
    pub(crate) fn check_program(&self) -> Result<(), SetupError> {
        let Some(program) = self.run.first() else { return Ok(()) };
        let found = program::find(program, std::env::var_os("PATH").as_deref());
        found.map_err(|missing| SetupError::Program(program.clone(), missing))
    }
}

/// Why it cannot even begin.
#[derive(Debug)]
pub(crate) enum SetupError {
    /// This place cannot be listened on.
    Listen(Endpoint, ListenError),
    /// This socket was passed, and no import is for it.
    Stray(String),
    /// No machine can have the name that the target of this export has.
    BadName(AppName, Target),
    /// The program that is to be run is not there, or can be run by nobody.
    Program(OsString, Missing),
}
