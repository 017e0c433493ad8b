//! What a replicated port says and hears, foreign bytes included.

pub mod proxy_header;
pub mod rmi;
pub mod rules;
pub mod service;
pub mod socks;

pub use proxy_header::Version as ProxyVersion;
pub use rules::{Rule, RuleError, Rules};
pub use service::{APP_MAX, Service};
