//! What a replicated port says, hears and decides: foreign bytes, who may reach what, which session carries what.

pub(crate) mod proxy_header;
pub mod rmi;
pub(crate) mod routes;
pub(crate) mod rules;
pub mod service;
pub mod socks;

pub use proxy_header::Version as ProxyVersion;
pub use rules::{Rule, RuleError, Rules};
pub use service::{APP_MAX, Service};
