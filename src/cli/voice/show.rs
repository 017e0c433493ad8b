//! What whoever sits at the terminal sees while bytes go.

use crate::cli::progress::{Audience, Progress, Totals};
use crate::cli::report::Report;

/// See the module's text.
pub(super) struct Show {
    audience: Audience,
    pub bar: Option<Progress>,
    /// The item under way, as bytes of unknown origin.
    pub current: Vec<u8>,
}

impl Show {
    /// Nothing yet, for this audience.
    pub(super) fn new(audience: Audience) -> Show {
        Show { audience, bar: None, current: Vec::new() }
    }

    /// Whether somebody sits at a terminal.
    pub(super) fn is_watched(&self) -> bool {
        matches!(self.audience, Audience::Terminal)
    }

    /// The bar, of so much.
    pub(super) fn bar(&mut self, report: &Report, totals: Totals) -> &mut Progress {
        let bar = self.bar.get_or_insert_with(|| Progress::start(report, self.audience, totals));
        bar.set_totals(totals);
        bar
    }

    /// Ends the bar, if there is one.
    pub(super) fn end_bar(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish();
        }
    }

    /// Nothing more is shown.
    pub(super) fn stop(&mut self) {
        self.end_bar();
        self.audience = Audience::Nobody;
    }
}
