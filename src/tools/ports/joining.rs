//! What becomes of an accepted connection: it is joined to a stream, asked what it wants, waits, or is reset.
//!
//! A connection is joined to a stream at once and its first bytes travel with the OPEN. If there is no session, because
//! the peer is not there, it is reset at once. If a call is under way, it waits for the answer. If the session is merely
//! without a path for the moment, it goes ahead: the session has it.

use super::Portrep;
use super::conn::{Conn, Start};
use super::connections::{Connections, PATIENCE, Source, Waiting};
use super::hello::{Hello, HelloResult};
use super::import::{Active, Import, Speaks};
use super::news::{News, Wanted};
use super::sessions::Sessions;
use super::shares::{Party, Room};
use super::streams::{Owner, StreamKey};
use crate::net::slots::Slot;
use crate::net::socket::Socket;
use crate::node::Key;
use crate::ports::rmi::Watch;
use crate::ports::routes::Standing;
use crate::ports::service::Wish;
use crate::ports::socks::Reply;
use crate::run::tool::Context;
use crate::wire::CloseCode;

/// What it takes to join a connection.
pub(super) struct Joining<'a> {
    /// What was accepted where.
    pub imports: &'a [Active],
    /// The connection is one of these.
    pub connections: &'a mut Connections,
    /// Its stream is one of one of these.
    pub sessions: &'a mut Sessions,
}

impl Joining<'_> {
    /// The import of this number has accepted a connection.
    pub(super) fn handle_accepted(&mut self, ctx: &mut Context<'_, Portrep>, number: usize, mut socket: Socket) {
        let import = self.import(number);
        let is_plain = import.speaks == Speaks::Plain;
        let standing = self.sessions.routes.route(import.peer, &import.service.app).map(|route| route.standing());
        let is_hopeless = is_plain && !matches!(standing, Some(Standing::Up(_) | Standing::Calling(_)));
        if is_hopeless
            || !self.find_room(ctx, import)
            || socket.register(ctx.registry, self.connections.next_token()).is_err()
        {
            return socket.abort();
        }
        if is_plain {
            let slot = self.connections.insert(Source::Waiting(Waiting { socket, import: number, asked: Vec::new() }));
            self.place(ctx, slot, number);
        } else {
            let slot = self.connections.insert(Source::Hello(Hello::new(socket, number)));
            self.connections.wait_until(ctx.now + PATIENCE, slot);
            self.connections.enqueue(slot);
        }
    }

    /// Finds a place for one more connection of an application here, and tells if there is none. A peer that has several gives way
    /// to one that has none.
    fn find_room(&mut self, ctx: &mut Context<'_, Portrep>, import: &Import) -> bool {
        let wanted = Wanted { peer: import.peer, app: import.service.app.as_str(), by_import: true };
        let room = self.connections.room_for(ctx, Party::Imports);
        match room {
            Room::Free => {}
            Room::After(holder) => {
                self.connections.make_room(ctx, holder);
                (ctx.news)(News::GaveWay(holder, wanted));
            }
            Room::Share => (ctx.news)(News::HasShare(wanted)),
            Room::None => (ctx.news)(News::NoRoom(wanted)),
        }
        matches!(room, Room::Free | Room::After(_))
    }

    /// An application of SOCKS may have said more. True if it has said all.
    pub(super) fn advance_hello(&mut self, ctx: &mut Context<'_, Portrep>, slot: Slot) -> bool {
        let Some(Source::Hello(hello)) = self.connections.get_mut(slot) else { return false };
        let number = hello.import;
        let (asked, bad) = match hello.advance() {
            HelloResult::Later => return false,
            HelloResult::Wants(destination) => (destination, None),
            HelloResult::Bad(reply) => (Vec::new(), Some(reply)),
        };
        self.connections.alter(slot, |source| match source {
            Source::Hello(hello) => {
                // Whoever is answered is one that waits for an answer.
                let asked = if matches!(bad, Some(Some(_))) { hello.said } else { asked };
                Source::Waiting(Waiting { socket: hello.socket, import: number, asked })
            }
            other => other,
        });
        match bad {
            None => self.place(ctx, slot, number),
            Some(reply) => self.connections.refuse(ctx, slot, reply.unwrap_or(Reply::Failure)),
        }
        true
    }

    /// Joins a connection to a stream if there is a session, and lets it wait if there may be one soon.
    fn place(&mut self, ctx: &mut Context<'_, Portrep>, slot: Slot, number: usize) {
        self.connections.wait_until(ctx.now + PATIENCE, slot);
        let import = self.import(number);
        let has_hope = self.sessions.has_hope();
        let route = self.sessions.routes.route_mut(import.peer, &import.service.app);
        match route.map(|route| (route.standing(), route)) {
            Some((Standing::Up(key), _)) => self.join(ctx, key, slot),
            Some((Standing::Calling(_), route)) if has_hope => route.wait(slot),
            _ => self.connections.refuse(ctx, slot, Reply::HostUnreachable),
        }
    }

    /// Joins a waiting connection to a fresh stream.
    pub(super) fn join(&mut self, ctx: &mut Context<'_, Portrep>, key: Key, slot: Slot) {
        let imports = self.imports;
        let Some(Source::Waiting(waiting)) = self.connections.get_mut(slot) else { return };
        let number = waiting.import;
        let import = &imports[number].import;
        // Who waits for an answer sends nothing before it has one.
        let is_certain =
            import.speaks == Speaks::Plain && self.sessions.routes.is_certain(import.peer, &import.service.app);
        let (wish, start) = match (import.speaks, is_certain) {
            (Speaks::Socks, _) => (Wish::Proxied, Start::WhenTaken),
            (Speaks::Plain, true) => (Wish::Connection, Start::Early),
            (Speaks::Plain, false) => (Wish::Connection, Start::WhenTaken),
        };
        let text = import.service.text(wish);
        let opened = ctx.node.session(key).and_then(|session| {
            let id = session.open_stream(ctx.now, &text)?;
            let written = session.stream_mut(id).write(&waiting.asked);
            debug_assert_eq!(written, waiting.asked.len(), "a fresh stream has room for a request");
            Some(StreamKey { session: key, id })
        });
        let Some(stream) = opened else { return self.connections.give_up(ctx, slot) };
        // Who names targets to the SOCKS server can follow an RMI server's answers.
        let watch = if wish == Wish::Connection { Watch::begin() } else { Watch::Off };
        let app = import.service.app.clone();
        self.connections.alter(slot, |source| match source {
            Source::Waiting(waiting) => {
                let conn = Conn::new(waiting.socket, stream, start, app).with_asked(waiting.asked);
                Source::Conn(conn.with_watch(watch))
            }
            other => other,
        });
        self.connections.streams.insert(stream, Owner::Import(slot, number));
        self.connections.enqueue(slot);
    }

    /// The peer has taken a connection.
    pub(super) fn handle_taken(&mut self, slot: Slot, number: usize) {
        self.handle_served(number);
        self.connections.handle_taken(slot);
    }

    /// The peer did not take a connection: reset here too, unless another process of the peer may take it.
    pub(super) fn handle_refused(
        &mut self,
        ctx: &mut Context<'_, Portrep>,
        slot: Slot,
        number: usize,
        code: CloseCode,
    ) {
        if matches!(
            code,
            CloseCode::TargetRefused | CloseCode::TargetUnreachable | CloseCode::Refused | CloseCode::Limit
        ) {
            // Whoever knows of the target serves the application.
            self.handle_served(number);
        }
        let is_movable = matches!(self.connections.get_mut(slot), Some(Source::Conn(conn)) if conn.is_held_back());
        if is_movable && code == CloseCode::NotHere && self.handle_not_served(ctx, number) {
            self.connections.wait_again(ctx, slot, number);
            return self.place(ctx, slot, number);
        }
        let reply = match code {
            CloseCode::TargetRefused => Reply::Refused,
            CloseCode::TargetUnreachable => Reply::HostUnreachable,
            CloseCode::Refused | CloseCode::NotHere => Reply::NotAllowed,
            _ => Reply::Failure,
        };
        self.connections.refuse(ctx, slot, reply);
    }

    /// The process that was reached serves the import.
    pub(super) fn handle_served(&mut self, number: usize) {
        let import = self.import(number);
        self.sessions.routes.handle_served(import.peer, &import.service.app);
    }

    /// The process that was reached does not serve the import. True if another process of the peer may.
    pub(super) fn handle_not_served(&mut self, ctx: &mut Context<'_, Portrep>, number: usize) -> bool {
        let import = self.import(number);
        self.sessions.handle_not_served(ctx, import.peer, &import.service.app)
    }
}

impl<'a> Joining<'a> {
    fn import(&self, number: usize) -> &'a Import {
        let imports = self.imports;
        &imports[number].import
    }
}
