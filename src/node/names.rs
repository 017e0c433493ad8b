//! By which names the relay brings callers to us: applications, presence, siblings, and the sessions of callers.

use super::presence::PRESENCE;
use super::serving::Serving;
use super::sessions::Sessions;
use super::siblings::{Siblings, name_of};
use super::uplink::Uplink;
use crate::names::AppName;
use crate::wire::Name;

/// What is served, and the link over which the relay is told.
pub(super) struct Names<'n> {
    pub uplink: &'n mut Uplink,
    pub serving: &'n Serving,
    pub siblings: &'n Siblings,
    pub sessions: &'n Sessions,
}

impl Names<'_> {
    /// Registers an application, where nothing speaks against it.
    pub(super) fn listen_for(&mut self, app: &AppName) {
        if self.serving.is_findable() && self.siblings.may_receive(app) {
            self.uplink.listen(Name::App(app.clone()));
        }
    }

    /// Registers all applications. Calls that wait at the relay are brought again.
    pub(super) fn listen_for_apps(&mut self) {
        for app in self.serving.apps() {
            self.listen_for(app);
        }
    }

    /// There is room for callers again, or none: with none the applications are taken off the relay, so that callers wait
    /// there or find another process of ours. Presence is the last to come and the first to go, as in [`Names::listen`].
    pub(super) fn update(&mut self) {
        if self.serving.apps().is_empty() {
            return;
        }
        if self.serving.is_findable() {
            self.listen_for_apps();
            return self.uplink.listen(Name::Session(PRESENCE));
        }
        self.uplink.unlisten(Name::Session(PRESENCE));
        for app in self.serving.apps() {
            self.uplink.unlisten(Name::App(app.clone()));
        }
    }

    /// Registers everything, on a new link.
    pub(super) fn listen(&mut self) {
        self.listen_for_apps();
        // After them: whoever waits for one of them is not to hear first that we are here without it.
        if self.serving.shows_presence() {
            self.uplink.listen(Name::Session(PRESENCE));
        }
        for app in self.serving.apps() {
            self.uplink.listen(name_of(app));
        }
        for rendezvous in self.sessions.callers_names() {
            self.uplink.listen(Name::Session(rendezvous));
        }
    }
}
