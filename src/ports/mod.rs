//! What a replicated port says, hears and decides, without sockets.
//!
//! Foreign bytes are read here: what peers ask each other for (`service`), SOCKS (`socks`), and where Java's RMI sends its
//! callers (`rmi`). `proxy_header` has what a target is told of who connects, `rules` which targets a peer may name, `routes`
//! which session carries which connection.

pub(crate) mod proxy_header;
pub mod rmi;
pub(crate) mod routes;
pub(crate) mod rules;
pub mod service;
pub mod socks;

pub use proxy_header::Version as ProxyVersion;
pub use rules::{Rule, RuleError, Rules};
pub(crate) use service::APP_MAX;
pub use service::Service;
