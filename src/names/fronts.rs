//! What a relay is told of whatever stands in front of it.

use crate::names::network::Network;
use crate::names::path::RequestPath;
use std::net::IpAddr;

/// Web servers and load balancers in front of a relay.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fronts {
    /// Whom it believes where a connection comes from.
    pub trusted: Vec<Network>,
    /// The path of the requests that it takes; any where there is none.
    pub path: Option<RequestPath>,
}

impl Fronts {
    /// Whether one of them may have this address.
    pub(crate) fn are_at(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(address))
    }
}
