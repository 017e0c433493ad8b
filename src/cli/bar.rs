//! The one line that shows how far a transfer is, on terminals of any width.

use std::time::Duration;

use indicatif::{BinaryBytes, HumanDuration};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Cells of the bar between its brackets.
const BAR_CELLS: usize = 20;
/// A name that is longer gives way to figures until so many columns of it are left.
const NAME_COLUMNS: usize = 14;

/// What is known of a transfer.
#[derive(Clone, Copy, Debug)]
pub(super) struct View<'a> {
    /// What is under way; safe to show.
    pub name: &'a str,
    /// Items that are done, and of how many; with a space behind it, or empty.
    pub counted: &'a str,
    /// Bytes that are done.
    pub done: u64,
    /// Of so many.
    pub total: Option<u64>,
    /// How fast it goes.
    pub pace: Pace,
}

/// How fast a transfer goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// So many bytes a second, and so long it will last or has lasted.
    Moving(u64, Duration),
    /// Nothing has moved for a while.
    Stalled,
    /// All is on its way, and the far side has yet to say that it has it.
    Settling,
}

impl View<'_> {
    /// At most so many columns: figures first, the end of the name as far as there is room.
    pub(super) fn line(&self, columns: usize) -> String {
        let room = self.name.width().min(NAME_COLUMNS);
        let figures = self.figures();
        let fitting = figures.iter().find(|text| text.width() + 1 + room <= columns);
        let Some(figures) = fitting.or(figures.last()) else { return String::new() };
        let name = end_of(self.name, columns.saturating_sub(figures.width() + 1));
        if name.is_empty() {
            return start_of(figures, columns);
        }
        let gap = columns - name.width() - figures.width();
        format!("{name}{:gap$}{figures}", "")
    }

    /// What may stand behind the name, the longest first.
    fn figures(&self) -> Vec<String> {
        let View { counted, done, total, .. } = *self;
        let bytes = BinaryBytes(done);
        let Some(total) = total else {
            let pace = self.pace(|took| format!("{:#}", HumanDuration(took)));
            return vec![format!("{counted}{bytes} {pace}"), format!("{bytes} {}", self.speed()), bytes.to_string()];
        };
        let pace = self.pace(|left| format!("{:#} left", HumanDuration(left)));
        let of = format!("{counted}{bytes}/{}", BinaryBytes(total));
        let percent = format!("{:>3}%", share(done, total, 100));
        let filled = share(done, total, BAR_CELLS);
        let head = if filled < BAR_CELLS { ">" } else { "" };
        let bar = format!("[{:<BAR_CELLS$}]", "=".repeat(filled) + head);
        vec![
            format!("{of} {bar} {percent} {pace}"),
            format!("{of} {percent} {pace}"),
            format!("{percent} {pace}"),
            format!("{percent} {}", self.speed()),
            percent,
        ]
    }

    fn pace(&self, time: impl Fn(Duration) -> String) -> String {
        match self.pace {
            // At no speed nobody knows how long it will last.
            Pace::Moving(speed, duration) if speed > 0 || self.total.is_none() => {
                format!("{} {}", self.speed(), time(duration))
            }
            _ => self.speed(),
        }
    }

    fn speed(&self) -> String {
        match self.pace {
            Pace::Moving(speed, _) => format!("{}/s", BinaryBytes(speed)),
            Pace::Stalled => "stalled".to_owned(),
            Pace::Settling => "finishing".to_owned(),
        }
    }
}

/// The part of `whole` that is done, in so many pieces.
fn share(done: u64, whole: u64, pieces: usize) -> usize {
    let all = u128::from(whole.max(1));
    let done = if whole == 0 { 1 } else { u128::from(done.min(whole)) };
    usize::try_from(done * pieces as u128 / all).unwrap_or(pieces)
}

/// The end of a name, which tells it from others, in at most so many columns.
fn end_of(name: &str, columns: usize) -> String {
    if name.width() <= columns {
        return name.to_owned();
    }
    // Measured as a whole: a character may be wider or narrower beside another. None begins with a mark of another's.
    let starts = name.char_indices().rev().filter(|(_, character)| character.width() != Some(0));
    let ends = starts.map(|(at, _)| format!("…{}", &name[at..]));
    ends.take_while(|end| end.width() <= columns).last().unwrap_or_default()
}

/// The start of figures, which are of one column each.
fn start_of(figures: &str, columns: usize) -> String {
    figures.chars().take(columns).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MIB: u64 = 1 << 20;

    fn view(name: &str) -> View<'_> {
        let pace = Pace::Moving(10 * MIB, Duration::from_secs(180));
        View { name, counted: "12/300 ", done: 25 * MIB, total: Some(100 * MIB), pace }
    }

    #[test]
    fn figures_give_way_one_after_the_other_and_the_end_of_the_name_stays() {
        let name = "photos/2026/holidays/north/IMG_20260712_0001.jpg";
        let line = |columns| view(name).line(columns);
        assert_eq!(
            line(140),
            "photos/2026/holidays/north/IMG_20260712_0001.jpg                 12/300 25.00 MiB/100.00 MiB [=====>              ]  25% 10.00 MiB/s 3m left"
        );
        assert_eq!(
            line(100),
            "…h/IMG_20260712_0001.jpg 12/300 25.00 MiB/100.00 MiB [=====>              ]  25% 10.00 MiB/s 3m left"
        );
        assert_eq!(line(70), "…0260712_0001.jpg 12/300 25.00 MiB/100.00 MiB  25% 10.00 MiB/s 3m left");
        assert_eq!(line(40), "…60712_0001.jpg  25% 10.00 MiB/s 3m left");
        assert_eq!(line(34), "…0260712_0001.jpg  25% 10.00 MiB/s");
        assert_eq!(line(8), "…pg  25%");
        assert_eq!(line(3), " 25");
        assert_eq!(line(0), "");
    }

    #[test]
    fn what_does_not_move_is_said_to() {
        let at = |pace, done| View { pace, done, ..view("a.iso") }.line(40);
        assert!(at(Pace::Stalled, 25 * MIB).ends_with(" 25% stalled"), "{}", at(Pace::Stalled, 25 * MIB));
        assert!(at(Pace::Settling, 100 * MIB).ends_with("100% finishing"));
        assert!(at(Pace::Moving(0, Duration::ZERO), 0).ends_with("  0% 0 B/s"));
        let stream = View { total: None, pace: Pace::Stalled, ..view("dump") };
        assert_eq!(stream.line(40), "dump            12/300 25.00 MiB stalled");
    }

    #[test]
    fn nothing_of_nothing_is_all_of_it() {
        assert_eq!(
            (share(0, 0, 100), share(1, 2, 100), share(3, 2, 100), share(u64::MAX, u64::MAX, 20)),
            (100, 50, 100, 20)
        );
    }

    #[test]
    fn characters_without_a_width_need_no_room_and_get_none_alone() {
        assert_eq!(end_of("\u{1bfc}\u{16ff0}", 0), "");
        assert_eq!(end_of("ab\u{301}", 1), "");
        assert_eq!(end_of("abcd\u{301}", 3), "…cd\u{301}");
    }

    proptest! {
        #[test]
        fn no_line_is_longer_than_the_terminal(name in "\\PC{0,60}", columns in 0_usize..120, done: u64, total: Option<u64>) {
            let view = View { done, total, ..view(&name) };
            prop_assert!(view.line(columns).width() <= columns);
        }
    }
}
