//! Borrowed handles of one stream: what an application may ask and do, and what the peer does to it.

use super::canary::Canary;
use super::frame::Frame;
use super::streams::Half;
use super::streams::recv::StreamPiece;
use super::violation::Violation;
use super::{Event, Parcel, Session};
use crate::wire::CloseCode;
use std::time::Instant;

/// One stream of a session, to be looked at. A stream that the session does not know, or no more, is one of which nothing
/// more comes.
#[derive(Clone, Copy)]
pub struct Stream<'a> {
    pub(super) session: &'a Session,
    pub(super) id: u32,
}

impl<'a> Stream<'a> {
    /// Bytes that came in, not yet taken. Empty: nothing now.
    pub fn readable(self) -> &'a [u8] {
        self.session.streams.peek(self.id).map_or(&[], |stream| stream.recv.readable())
    }

    /// Bytes that were taken so far.
    pub fn taken(self) -> u64 {
        self.session.streams.peek(self.id).map_or(0, |stream| stream.recv.taken())
    }

    /// Bytes written so far.
    pub fn written(self) -> u64 {
        self.session.streams.peek(self.id).map_or(0, |stream| stream.send.written())
    }

    /// How far the peer's application is with what we wrote, bytes.
    pub fn consumed_by_peer(self) -> u64 {
        self.session.streams.peek(self.id).map_or(0, |stream| stream.send.consumed())
    }

    /// How the sending half stands.
    pub fn send_half(self) -> Half {
        let Some(stream) = self.session.streams.peek(self.id) else { return Half::Done };
        match stream.send.stop_code() {
            _ if stream.send.is_consumed() => Half::Done,
            Some(code) => Half::Broken(code),
            None => Half::Open,
        }
    }

    /// How the receiving half stands.
    pub fn recv_half(self) -> Half {
        let Some(stream) = self.session.streams.peek(self.id) else { return Half::Done };
        match stream.recv.reset_code() {
            Some(code) => Half::Broken(code),
            None if stream.recv.is_drained() => Half::Done,
            None => Half::Open,
        }
    }

    /// The peer has ended its direction and all of it was read (though perhaps not yet consumed).
    pub(crate) fn is_read_out(self) -> bool {
        self.session.streams.peek(self.id).is_none_or(|stream| stream.recv.is_read_out())
    }
}

/// One stream of a session, to work with. What is done with a stream that the session does not know does nothing.
pub struct StreamMut<'a> {
    pub(super) session: &'a mut Session,
    pub(super) id: u32,
}

impl<'a> StreamMut<'a> {
    /// Takes a stream the peer opened.
    pub fn accept(self) {
        self.session.changed.note();
        self.session.schedule.push(&Frame::Opened { id: self.id });
    }

    /// Does not take a stream the peer opened. It is forgotten when the peer has said how far it had got, because those
    /// bytes count against the session's credit.
    pub fn refuse(mut self, code: CloseCode) {
        self.session.changed.note();
        let Session { streams, schedule, pool, .. } = &mut *self.session;
        let Some(mut stream) = streams.get(self.id) else { return };
        stream.is_released = true;
        if stream.send.has_begun() {
            // Too late for a refusal: the peer has seen some of our direction. Both are taken back instead.
            self.stop(code);
            return self.reset(code);
        }
        stream.send.reset(pool);
        schedule.push(&Frame::OpenFailed { id: self.id, code: code.to_wire() });
        streams.reap(self.id);
    }

    /// Room for the next bytes: put some there, then [`StreamMut::commit`]. Empty is back-pressure.
    pub(crate) fn write_room(self) -> &'a mut [u8] {
        let load = self.session.load();
        let may_write = self.session.retention.make_room_to_write(load);
        match self.session.streams.get(self.id) {
            Some(stream) if may_write => stream.into_room(&mut self.session.pool),
            Some(mut stream) => {
                stream.send.note_wants_room();
                &mut []
            }
            None => &mut [],
        }
    }

    /// Nothing will be written for now: an unused room's buffer goes back.
    pub(crate) fn release_room(&mut self) {
        if let Some(mut stream) = self.session.streams.get(self.id) {
            stream.send.release_room(&mut self.session.pool);
        }
    }

    /// `count` bytes of the room are filled.
    pub(crate) fn commit(&mut self, count: usize) {
        self.session.changed.note();
        if let Some(mut stream) = self.session.streams.get(self.id) {
            stream.send.commit(count);
            stream.queue();
        }
    }

    /// Copies as much of `bytes` as there is room for. Yields how much that was.
    pub fn write(&mut self, bytes: &[u8]) -> usize {
        let mut done = 0;
        while done < bytes.len() {
            let room = self.session.stream_mut(self.id).write_room();
            let count = room.len().min(bytes.len() - done);
            if count == 0 {
                break;
            }
            room[..count].copy_from_slice(&bytes[done..done + count]);
            self.commit(count);
            done += count;
        }
        done
    }

    /// The same of a parcel, of which the rest stays in it. A large one goes whole, without a copy, for an empty buffer.
    pub fn write_parcel(&mut self, parcel: &mut Parcel) -> usize {
        if !parcel.is_record() {
            let count = self.write(parcel);
            parcel.advance(count);
            return count;
        }
        if self.session.stream_mut(self.id).write_room().is_empty() {
            return 0;
        }
        let count = parcel.len();
        self.session.changed.note();
        if let Some(mut stream) = self.session.streams.get(self.id) {
            stream.send.take_parcel(&mut self.session.pool, parcel);
            stream.queue();
        }
        count
    }

    /// Half-close: nothing follows what was written.
    pub fn finish(&mut self) {
        self.session.changed.note();
        if let Some(mut stream) = self.session.streams.get(self.id) {
            stream.send.finish();
            stream.queue();
        }
    }

    /// Gives up sending: what was not sent is dropped.
    pub fn reset(&mut self, code: CloseCode) {
        self.reset_with(code.to_wire());
        self.session.streams.reap(self.id);
    }

    fn reset_with(&mut self, code: u16) {
        self.session.changed.note();
        let Some(mut stream) = self.session.streams.get(self.id) else { return };
        if let Some(final_offset) = stream.send.reset(&mut self.session.pool) {
            self.session.schedule.push(&Frame::Reset { id: self.id, code, final_offset });
        }
    }

    /// Wants no more bytes of this stream.
    pub fn stop(&mut self, code: CloseCode) {
        self.session.changed.note();
        if self.session.streams.is_known(self.id) {
            self.session.schedule.push(&Frame::Stop { id: self.id, code: code.to_wire() });
        }
    }

    /// Takes `count` bytes of what [`Stream::readable`] shows, without saying that they are where they belong.
    pub fn read(&mut self, count: usize) {
        self.session.changed.note();
        if let Some(mut stream) = self.session.streams.get(self.id) {
            stream.recv.read(&mut self.session.pool, count);
        }
    }

    /// Takes the first bytes that came, as [`StreamMut::read`] does, with the buffer they are in: as many as
    /// [`Stream::readable`] shows. None: nothing now. The buffer should come back by [`StreamMut::give_back`].
    pub fn take_parcel(&mut self) -> Option<Parcel> {
        let parcel = self.session.streams.get(self.id)?.recv.take_parcel()?;
        self.session.changed.note();
        Some(parcel)
    }

    /// Gives the buffer of a parcel back.
    pub fn give_back(&mut self, parcel: Parcel) {
        self.session.pool.give(parcel.buffer);
    }

    /// `count` bytes, read before, are where they belong. This is what the sender's exit status rests on.
    pub fn consume(&mut self, now: Instant, count: usize) {
        self.session.changed.note();
        let Session { streams, credit, schedule, lanes, .. } = &mut *self.session;
        let trip = lanes.round_trip();
        let window_max = credit.stream_window_max(streams.count());
        let Some(mut stream) = streams.get(self.id) else { return };
        stream.recv.cap_window(window_max);
        let count = u64::try_from(count).unwrap_or(0);
        let count = stream.recv.consume(now, trip, count, |size| credit.leave_beside(size));
        credit.consume(now, trip, count);
        if let Some(progress) = stream.take_last_news() {
            schedule.push(&progress.frame(self.id));
        } else if count > 0 && !stream.recv.is_drained() {
            stream.add_news(now);
        }
        self.session.wake_writers();
        self.session.streams.reap(self.id);
    }

    /// The application is done with the stream: it is forgotten as soon as both directions are over.
    pub fn release(self) {
        self.session.changed.note();
        if let Some(mut stream) = self.session.streams.get(self.id) {
            stream.is_released = true;
            self.session.streams.reap(self.id);
        }
    }

    /// The peer opens the stream.
    pub(super) fn handle_open(self, now: Instant, service: &[u8]) -> Result<(), Violation> {
        if self.session.streams.handle_open(now, self.id)? {
            let event = Event::StreamOpened { id: self.id, service: service.to_vec() };
            self.session.events.push_back(event);
        }
        Ok(())
    }

    /// The peer took a stream that we opened.
    pub(super) fn handle_opened(self) {
        if self.session.streams.is_known(self.id) {
            self.session.events.push_back(Event::StreamAccepted { id: self.id });
        }
    }

    /// The peer did not take a stream that we opened: nothing comes of either direction.
    pub(super) fn handle_open_failed(mut self, code: u16) -> Result<(), Violation> {
        let Some(mut stream) = self.session.streams.get(self.id) else { return Ok(()) };
        if !stream.is_ours || stream.recv.reset_code().is_some() {
            return Ok(());
        }
        let cut = stream.handle_reset(&mut self.session.pool, code, 0)?;
        debug_assert_eq!(cut.fresh, 0);
        self.session.events.push_back(Event::StreamRefused { id: self.id, code });
        self.handle_stop(code);
        Ok(())
    }

    /// A piece of the stream came, in a record.
    pub(super) fn handle_piece(&mut self, record: &mut Vec<u8>, place: StreamPiece) -> Result<(), Violation> {
        let Session { streams, credit, schedule, pool, planted, .. } = &mut *self.session;
        let Some(mut stream) = streams.get(self.id) else {
            let known = streams.was_opened(self.id);
            return if known { Ok(()) } else { Err(Violation::NeverOpened) };
        };
        let place = stream.planted_place(*planted, place);
        let length = place.at.len();
        let fresh = stream.receive(pool, record, place)?;
        if planted.is(Canary::ConsumedEarly) {
            stream.recv.plant_consumed(length);
        }
        stream.touch();
        // An end without further bytes: nothing is left to consume, so this is the news.
        let last = stream.take_last_news();
        credit.receive(fresh)?;
        if streams.are_scattered() {
            return Err(Violation::Scattered);
        }
        if !planted.is(Canary::NarrowSession) {
            credit.widen_for_unread();
        }
        if let Some(progress) = last {
            schedule.push(&progress.frame(self.id));
            streams.reap(self.id);
        }
        Ok(())
    }

    /// The peer gives its direction up.
    pub(super) fn handle_reset(&mut self, code: u16, final_offset: u64) -> Result<(), Violation> {
        let Session { streams, credit, pool, .. } = &mut *self.session;
        let Some(mut stream) = streams.get(self.id) else { return Ok(()) };
        let cut = stream.handle_reset(pool, code, final_offset)?;
        stream.touch();
        credit.receive(cut.fresh)?;
        credit.forgo(cut.lost);
        self.session.wake_writers();
        self.session.streams.reap(self.id);
        Ok(())
    }

    /// The peer wants no more of our direction.
    pub(super) fn handle_stop(&mut self, code: u16) {
        let is_ignored = self.session.planted.is(Canary::IgnoredStop);
        let Some(mut stream) = self.session.streams.get(self.id).filter(|_| !is_ignored) else { return };
        stream.send.handle_stop(code);
        stream.touch();
        self.reset_with(code);
        self.session.streams.reap(self.id);
    }

    /// The peer tells how far its application is and how far we may go.
    pub(super) fn handle_consumed(&mut self, consumed: u64, limit: u64) -> Result<(), Violation> {
        let Some(mut stream) = self.session.streams.get(self.id) else { return Ok(()) };
        stream.send.handle_consumed(consumed, limit)?;
        stream.queue();
        if stream.send.is_consumed() {
            stream.touch();
        }
        self.session.streams.reap(self.id);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Role;
    use crate::session::fuzz::{channel, config};

    /// As much as goes whole, without a copy.
    fn parcel() -> Parcel {
        let mut parcel = Parcel::default();
        assert_eq!(parcel.push(&[1; Parcel::BYTES_MAX]), Parcel::BYTES_MAX);
        parcel
    }

    #[test]
    fn whatever_is_done_with_a_stream_changes_its_session_and_to_look_at_it_does_not() {
        type Deed = (&'static str, fn(StreamMut<'_>));
        let deeds: [Deed; 13] = [
            ("accept", |stream| stream.accept()),
            ("refuse", |stream| stream.refuse(CloseCode::Refused)),
            ("commit", |mut stream| stream.commit(1)),
            ("write", |mut stream| assert_eq!(stream.write(b"bytes"), 5)),
            ("write_parcel", |mut stream| assert_eq!(stream.write_parcel(&mut parcel()), Parcel::BYTES_MAX)),
            ("finish", |mut stream| stream.finish()),
            ("reset", |mut stream| stream.reset(CloseCode::Done)),
            ("stop", |mut stream| stream.stop(CloseCode::Done)),
            ("read", |mut stream| stream.read(0)),
            ("consume", |mut stream| stream.consume(Instant::now(), 0)),
            ("release", |stream| stream.release()),
            ("handle_stop", |mut stream| stream.handle_stop(1)),
            ("close", |stream| stream.session.close(CloseCode::Done)),
        ];
        for (what, deed) in deeds {
            let now = Instant::now();
            let mut session = Session::new(now, config(Role::Initiator, channel().0));
            let id = session.open_stream(now, "x").expect("the first");
            assert!(session.has_changed(), "open_stream");
            session.clear_changed();
            assert!(!session.stream_mut(id).write_room().is_empty());
            session.stream_mut(id).release_room();
            assert!(session.stream_mut(id).take_parcel().is_none() && session.poll_event().is_none());
            assert!(session.stream(id).readable().is_empty() && !session.has_changed());
            if what == "commit" {
                session.stream_mut(id).write_room()[0] = 1;
            }
            deed(session.stream_mut(id));
            assert!(session.has_changed(), "{what}");
        }
    }
}
