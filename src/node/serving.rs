//! What callers find: which applications, who may call them, and whether there is room for one more.

use super::Callers;
use crate::identity::PeerId;
use crate::names::AppName;
use crate::wire::limits::LISTENERS_MAX;

/// What is served, and to whom.
pub(super) struct Serving {
    apps: Vec<AppName>,
    callers: Callers,
    callers_max: usize,
    findable: bool,
}

impl Serving {
    pub(super) fn new(callers: Callers, callers_max: usize) -> Serving {
        Serving { apps: Vec::new(), callers, callers_max, findable: true }
    }

    pub(super) fn add(&mut self, app: AppName) {
        self.apps.push(app);
    }

    pub(super) fn remove(&mut self, app: &AppName) {
        self.apps.retain(|known| known != app);
    }

    pub(super) fn apps(&self) -> &[AppName] {
        &self.apps
    }

    pub(super) fn set_callers(&mut self, callers: Callers) {
        self.callers = callers;
    }

    /// Whether this peer may call this application.
    pub(super) fn admits(&self, peer: &PeerId, app: &AppName) -> bool {
        self.callers.admit(peer, app)
    }

    /// Whether it may call anything.
    pub(super) fn admits_at_all(&self, peer: &PeerId) -> bool {
        self.callers.admit_at_all(peer)
    }

    /// How many callers the tool has at once.
    pub(super) fn callers_max(&self) -> usize {
        self.callers_max
    }

    /// Names that a link may have beyond those of the applications, and the two that others of our key, and those who ask
    /// whether we are here, know.
    pub(super) fn names_left(&self) -> usize {
        LISTENERS_MAX.saturating_sub(self.apps.len() + 2)
    }

    /// Whether callers find the applications.
    pub(super) fn is_findable(&self) -> bool {
        self.findable
    }

    /// With no room for another caller nothing is found, so that callers wait at the relay or find another process of ours.
    /// True if that has changed.
    pub(super) fn update(&mut self, callers: usize) -> bool {
        let findable = callers < self.callers_max;
        std::mem::replace(&mut self.findable, findable) != findable
    }

    /// Whether a call for the application is heard.
    pub(super) fn hears(&self, app: &AppName) -> bool {
        self.findable && self.apps.contains(app)
    }

    /// Whether peers may learn that we are here: while callers would be heard; and those whom we call at any time.
    pub(super) fn shows_presence(&self) -> bool {
        self.findable || self.apps.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_no_room_left_nothing_is_found_and_presence_is_shown_only_by_who_serves_nothing() {
        let app: AppName = "x".parse().expect("a name");
        let mut serving = Serving::new(Callers::Nobody, 1);
        assert!(!serving.update(0) && serving.update(1) && !serving.update(2));
        assert!(serving.shows_presence(), "it serves nothing");
        serving.add(app.clone());
        assert!(!serving.hears(&app) && !serving.shows_presence());
        assert_eq!(serving.names_left(), LISTENERS_MAX - 3);
        assert!(serving.update(0) && serving.hears(&app) && serving.shows_presence());
        serving.remove(&app);
        assert!(!serving.hears(&app));
    }
}
