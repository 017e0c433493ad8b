//! Words of `vp-portrep`.

use super::Voice;
use crate::app::portrep::SetupError;
use crate::cli::escape::printable;
use crate::cli::exit::Exit;
use crate::cli::report::{Fault, chain};
use crate::identity::PeerId;

impl Voice<'_> {
    pub(super) fn unlisted(&self, name: &str) {
        let name = printable::<str>(name);
        self.warn(&format!("the peers file has no {name} any more: nobody by that name may call"));
    }

    pub(super) fn unmapped(&self, peer: &PeerId, app: &str, to: &str) {
        let (name, to) = (self.name(peer), printable(to));
        self.warn(&format!(
            "{name}:{app}: its RMI server sends callers to {to}, where no import listens: map that port under the same \
             number, and set java.rmi.server.hostname at the server to where the import listens"
        ));
    }
}

/// Why a mapping cannot begin.
pub fn setup_fault(error: &SetupError) -> Fault {
    match error {
        SetupError::Listen(place, error) => {
            let place = place.to_string();
            Fault::new(Exit::Failed, format!("cannot listen on {}: {}", printable(&place), chain(error)))
        }
        SetupError::Resolve(..) | SetupError::Stray(_) => Fault::new(Exit::Config, chain(error)),
    }
}
