//! Listeners of imports from before the loop begins: those that were passed, and those that are bound.

use super::import::Import;
use super::setup::SetupError;
use crate::net::endpoint::Endpoint;
use crate::net::listen::{FourPorts, Listener};
use crate::net::passed::Passed;
use crate::net::socket_file::ListenError;
use std::io;

/// How often a free port is looked for that is free for both addresses of `localhost`.
const TWIN_TRIES: usize = 32;

/// Sockets that listened before we began.
pub(super) struct Found(Vec<(Listener, String)>);

impl Found {
    /// Of these.
    ///
    /// # Errors
    /// One has no place that anybody could connect to.
    pub(super) fn new(passed: Vec<Passed>) -> Result<Found, SetupError> {
        let mut found = Vec::new();
        for Passed { socket, name } in passed {
            let listener = Listener::of_passed(socket).map_err(|_| SetupError::Stray(name.clone()))?;
            found.push((listener, name));
        }
        Ok(Found(found))
    }

    /// Where they are.
    pub(super) fn places(&self) -> Vec<Endpoint> {
        self.0.iter().filter_map(|(listener, _)| listener.place().ok()).collect()
    }

    /// For each import the socket that is where it shall listen, else the one named like its application.
    ///
    /// # Errors
    /// A socket is for none of them.
    pub(super) fn claim(&mut self, imports: &[Import]) -> Result<Vec<Option<Listener>>, SetupError> {
        let by_place = |import: &Import, found: &(Listener, String)| found.0.place().is_ok_and(|at| at == import.at);
        let by_name = |import: &Import, found: &(Listener, String)| found.1 == import.service.app.as_str();
        let mut claimed: Vec<Option<Listener>> = imports.iter().map(|import| self.take(import, by_place)).collect();
        for (import, listener) in imports.iter().zip(&mut claimed).filter(|(_, listener)| listener.is_none()) {
            *listener = self.take(import, by_name);
        }
        match self.0.first() {
            None => Ok(claimed),
            Some((listener, name)) => {
                Err(SetupError::Stray(listener.place().map_or_else(|_| name.clone(), |place| place.to_string())))
            }
        }
    }

    fn take(&mut self, import: &Import, fits: impl Fn(&Import, &(Listener, String)) -> bool) -> Option<Listener> {
        let at = self.0.iter().position(|found| fits(import, found))?;
        Some(self.0.remove(at).0)
    }
}

/// Binds what has not been passed. What cannot be bound is not.
///
/// # Errors
/// A place is in use, or needs privileges.
pub(super) fn bind_rest(
    imports: &[Import],
    listeners: &mut [Option<Listener>],
    four: &FourPorts,
) -> Result<(), SetupError> {
    for number in 0..imports.len() {
        if listeners[number].is_some() {
            continue;
        }
        let import = &imports[number];
        let bound = match number.checked_sub(1).filter(|_| import.twin) {
            Some(before) => bind_twin(&imports[before], &mut listeners[before], import, four),
            None => Listener::bind(&import.at, four, import.access),
        };
        listeners[number] = Some(bound.map_err(|error| SetupError::Listen(import.at.clone(), error))?);
    }
    Ok(())
}

/// Binds the second address of `localhost` to the port of the first. If the kernel chose that and it is in use at the second,
/// both get another one.
fn bind_twin(
    first: &Import,
    listener: &mut Option<Listener>,
    second: &Import,
    four: &FourPorts,
) -> Result<Listener, ListenError> {
    let free = |place: &Endpoint| matches!(place, Endpoint::Tcp(address) if address.port() == 0);
    let mut tries = if free(&first.at) { TWIN_TRIES } else { 1 };
    loop {
        let place = match (&second.at, listener.as_ref().map(Listener::place).transpose()?) {
            (Endpoint::Tcp(second), Some(Endpoint::Tcp(first))) => Endpoint::Tcp((second.ip(), first.port()).into()),
            (second, _) => second.clone(),
        };
        tries -= 1;
        match Listener::bind(&place, four, second.access) {
            Err(error) if error.reason().kind() == io::ErrorKind::AddrInUse && tries > 0 => {
                *listener = Some(Listener::bind(&first.at, four, first.access)?);
            }
            bound => return bound,
        }
    }
}
