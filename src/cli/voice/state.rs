//! What the tool is about, for whoever asks by SIGUSR1.

/// See the module's text.
pub(super) struct State {
    /// In words.
    pub text: String,
    /// Whether that is to wait for something.
    pub waits: bool,
}

impl State {
    /// It waits.
    pub(super) fn waiting(text: String) -> State {
        State { text, waits: true }
    }

    /// It waits for nothing that would be worth a line.
    pub(super) fn at_work(text: String) -> State {
        State { text, waits: false }
    }
}
