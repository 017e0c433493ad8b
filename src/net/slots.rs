//! A table whose keys are event tokens: a key of something that has gone finds nothing, even if its place is taken again.
//!
//! A socket is registered under its key before it is put in, and a content may turn into another under its key; the crate
//! `slotmap` tells a key only to who puts something in.

use super::reactor::FIRST_TOKEN;
use mio::Token;

/// The lower half of a token is a place, the upper half counts who had it.
const PLACE_BITS: u32 = usize::BITS / 2;
const PLACE_MASK: usize = (1 << PLACE_BITS) - 1;

/// A key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(Token);

impl Slot {
    /// The key that an event's token is, if it is one.
    pub fn of(token: Token) -> Slot {
        Slot(token)
    }

    /// The key of what a loop itself has one of at a time; `place` is at least 1 and below `FIRST_TOKEN`.
    pub const fn own(place: usize) -> Slot {
        assert!(place >= 1 && place < FIRST_TOKEN);
        Slot(Token(place))
    }

    /// The key of what comes after this in the same place.
    #[must_use]
    pub fn successor(self) -> Slot {
        Slot(Token((self.0.0 & PLACE_MASK) | (self.generation().wrapping_add(1) << PLACE_BITS)))
    }

    /// Whether it is the key of what a loop itself has one of, or had.
    pub(crate) fn is_own(self) -> bool {
        self.place().is_none()
    }

    /// The token to register with.
    pub fn token(self) -> Token {
        self.0
    }

    fn new(place: usize, generation: usize) -> Slot {
        Slot(Token((place + FIRST_TOKEN) | (generation << PLACE_BITS)))
    }

    fn place(self) -> Option<usize> {
        (self.0.0 & PLACE_MASK).checked_sub(FIRST_TOKEN)
    }

    fn generation(self) -> usize {
        self.0.0 >> PLACE_BITS
    }
}

struct SlotEntry<T> {
    generation: usize,
    content: Option<T>,
}

/// The table.
pub struct Slots<T> {
    places: Vec<SlotEntry<T>>,
    free: Vec<usize>,
}

impl<T> Default for Slots<T> {
    fn default() -> Slots<T> {
        Slots { places: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slots<T> {
    /// The key under which the next [`Slots::insert`] will put something.
    pub fn next_slot(&mut self) -> Slot {
        let place = match self.free.last() {
            Some(place) => *place,
            None => {
                self.places.push(SlotEntry { generation: 0, content: None });
                self.free.push(self.places.len() - 1);
                self.places.len() - 1
            }
        };
        Slot::new(place, self.places[place].generation)
    }

    /// Puts something in.
    pub fn insert(&mut self, content: T) -> Slot {
        let slot = self.next_slot();
        if let Some(place) = self.free.pop() {
            self.places[place].content = Some(content);
        }
        slot
    }

    /// Takes something out; its key finds nothing from now on.
    pub fn remove(&mut self, slot: Slot) -> Option<T> {
        let at = slot.place()?;
        let place = self.places.get_mut(at).filter(|place| place.generation == slot.generation())?;
        let content = place.content.take()?;
        place.generation = (place.generation + 1) & (usize::MAX >> PLACE_BITS);
        self.free.push(at);
        Some(content)
    }

    /// Turns something into something else under the same key, or takes it out. False if there is nothing.
    pub(crate) fn alter(&mut self, slot: Slot, change: impl FnOnce(T) -> Option<T>) -> bool {
        let Some(at) = slot.place() else { return false };
        let known = self.places.get_mut(at).filter(|place| place.generation == slot.generation());
        let Some((place, content)) = known.and_then(|place| place.content.take().map(|content| (place, content)))
        else {
            return false;
        };
        place.content = change(content);
        if place.content.is_none() {
            place.generation = (place.generation + 1) & (usize::MAX >> PLACE_BITS);
            self.free.push(at);
        }
        true
    }

    /// What is there, to look at.
    pub(crate) fn get(&self, slot: Slot) -> Option<&T> {
        let place = self.places.get(slot.place()?)?;
        place.content.as_ref().filter(|_| place.generation == slot.generation())
    }

    /// What is there.
    pub fn get_mut(&mut self, slot: Slot) -> Option<&mut T> {
        let place = self.places.get_mut(slot.place()?)?;
        place.content.as_mut().filter(|_| place.generation == slot.generation())
    }

    /// The keys of everything that is there.
    pub fn keys(&self) -> Vec<Slot> {
        let taken = self.places.iter().enumerate().filter(|(_, place)| place.content.is_some());
        taken.map(|(at, place)| Slot::new(at, place.generation)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_what_has_gone_finds_nothing_though_its_place_is_taken() {
        let mut slots = Slots::default();
        let first = slots.insert("first");
        assert_eq!(slots.remove(first), Some("first"));
        let next = slots.next_slot();
        let second = slots.insert("second");
        assert_eq!(second, next);
        assert_eq!(slots.get_mut(first), None);
        assert_eq!(slots.remove(first), None);
        assert_eq!(slots.get_mut(Slot::of(second.token())), Some(&mut "second"));
        assert_eq!(slots.keys(), [second]);
        assert_eq!(slots.get_mut(Slot::of(Token(1))), None, "a token of the loop's own");
    }

    #[test]
    fn what_comes_after_something_in_a_place_of_the_loop_has_another_key() {
        const PLACE: Slot = Slot::own(FIRST_TOKEN - 1);
        let (second, third) = (PLACE.successor(), PLACE.successor().successor());
        assert!(PLACE != second && second != third && PLACE != third);
        assert!(third.is_own() && !Slots::default().insert(()).is_own());
        assert_eq!(Slots::<()>::default().get_mut(third), None);
        let all = Slot(Token(PLACE.0.0 | PLACE_MASK << PLACE_BITS));
        assert_eq!(all.successor(), PLACE);
    }

    #[test]
    fn what_is_altered_keeps_its_key_and_what_becomes_nothing_loses_it() {
        let mut slots = Slots::default();
        let slot = slots.insert(1);
        assert!(slots.alter(slot, |one| Some(one + 1)));
        assert_eq!(slots.get_mut(slot), Some(&mut 2));
        assert!(slots.alter(slot, |_| None));
        assert!(!slots.alter(slot, Some), "it has gone");
        assert_ne!(slots.insert(3), slot);
    }

    #[test]
    fn places_are_used_again() {
        let mut slots = Slots::default();
        for round in 0..1000 {
            let slot = slots.insert(round);
            assert_eq!(slots.remove(slot), Some(round));
        }
        assert_eq!(slots.places.len(), 1);
    }
}
