//! By which way relays are reached: what options, variables and the relays file say of proxies, the first of them that says
//! anything.

use super::args::{Connect, ProxyWord};
use super::env::Env;
use super::escape::printable;
use super::exit::Exit;
use super::files::{Candidate, ConfigFile, Origin, candidates};
use super::report::{Fault, chain};
use super::voice::names::NOT_TEXT;
use crate::carrier::proxy::{LOGIN_MAX, Login};
use crate::names::{ProxyAddress, ProxyAddressError, RelayAddress, Scheme, is_exempt};
use crate::run::way::{Named, ProxyServer, Way};
use crate::store::keyfile::LoadError;
use crate::store::password::{PasswordError, load};
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::io;
use std::sync::Arc;
use zeroize::Zeroizing;

/// What says that there is to be no proxy.
const NONE: &str = "none";
/// Variables that name a proxy for what goes through a tunnel, and for what HTTP without TLS carries, as curl looks at them. Others
/// than `http_proxy` count in capital letters, too: that one a web server sets for its scripts, by the word of whoever asks.
const TUNNEL: [&str; 4] = ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];
const HTTP: [&str; 3] = ["http_proxy", "all_proxy", "ALL_PROXY"];
const EXEMPT: [&str; 2] = ["no_proxy", "NO_PROXY"];

/// The way to each of these relays. `of_file` is what the relays file says of a proxy, if they come from there.
///
/// # Errors
/// What is said of a proxy makes no sense, or its password cannot be had.
pub(crate) fn ways(
    connect: &Connect,
    env: &Env,
    relays: Vec<RelayAddress>,
    of_file: Option<ProxyAddress>,
) -> Result<Vec<(RelayAddress, Way)>, Fault> {
    relays
        .into_iter()
        .map(|relay| {
            let way = way(connect, env, &relay, of_file.as_ref())?;
            Ok((relay, way))
        })
        .collect()
}

fn way(connect: &Connect, env: &Env, relay: &RelayAddress, of_file: Option<&ProxyAddress>) -> Result<Way, Fault> {
    if let Some(command) = &connect.proxy_command {
        return Ok(Way::Command(filled_in(command, relay)?));
    }
    if let Some(ProxyWord(word)) = &connect.proxy {
        if word.is_empty() || word == NONE {
            return Ok(Way::Straight);
        }
        let address = ProxyAddress::parse(word).map_err(|error| bad_proxy(Exit::Usage, "--proxy", error))?;
        return server(connect, env, address, None);
    }
    let variables = if matches!(relay.scheme, Some(Scheme::Ws | Scheme::Http)) { &HTTP[..] } else { &TUNNEL };
    if let Some((name, value)) = first(variables, env) {
        if first(&EXEMPT, env).is_some_and(|(_, list)| is_exempt(&list.to_string_lossy(), &relay.host)) {
            return Ok(Way::Straight);
        }
        let text = value.to_str().ok_or_else(|| Fault::new(Exit::Config, format!("{name}: {NOT_TEXT}")))?;
        let (address, password) =
            ProxyAddress::parse_secret(text).map_err(|error| bad_proxy(Exit::Config, name, error))?;
        return match password {
            Some(password) => Ok(Way::Proxy(known(address, password, Some(name))?)),
            None => server(connect, env, address, Some(name)),
        };
    }
    match of_file {
        Some(address) => server(connect, env, address.clone(), None),
        None => Ok(Way::Straight),
    }
}

/// The first of these variables that says anything.
fn first<'e>(names: &[&'static str], env: &'e Env) -> Option<(&'static str, &'e OsStr)> {
    names.iter().find_map(|name| Some((*name, env.get(name)?)))
}

fn bad_proxy(exit: Exit, place: &str, error: ProxyAddressError) -> Fault {
    let fault = Fault::new(exit, format!("{place}: the proxy {error}"));
    match error {
        _ if exit == Exit::Config => fault.hint("--proxy names another, and --proxy none goes without one"),
        ProxyAddressError::Password => fault.hint(
            "name the user alone, as in http://USER@HOST:PORT, and put the password into a file of mode 0600: proxy-password \
             beside the key, or one that --proxy-password-file names",
        ),
        _ => fault,
    }
}

/// A proxy whose password, if it has a user, is in a file.
fn server(connect: &Connect, env: &Env, address: ProxyAddress, by: Option<&'static str>) -> Result<Way, Fault> {
    if address.user.is_none() {
        return Ok(Way::Proxy(ProxyServer { named: Named { address, by }, login: None }));
    }
    let places = candidates(ConfigFile::ProxyPassword, connect.proxy_password_file.as_deref(), env);
    for place in &places {
        if let Some(password) = password_at(place)? {
            return known(address, password, by).map(Way::Proxy);
        }
    }
    let nowhere: Vec<_> = places.iter().map(|place| format!("no {}", printable(&place.path))).collect();
    let fault =
        Fault::new(Exit::Config, format!("no password for the proxy {address}: there is {}", nowhere.join(" and ")));
    Err(fault.hint("write it into a file of mode 0600, and name that with --proxy-password-file"))
}

/// A proxy with user and password.
fn known(address: ProxyAddress, password: Zeroizing<String>, by: Option<&'static str>) -> Result<ProxyServer, Fault> {
    let login = Login::new(address.user.clone().unwrap_or_default(), password).map(Arc::new);
    if login.is_none() {
        let text = format!(
            "the proxy {address}: user and password may have {LOGIN_MAX} bytes each, and no control characters"
        );
        return Err(Fault::new(Exit::Config, text));
    }
    Ok(ProxyServer { named: Named { address, by }, login })
}

fn password_at(place: &Candidate) -> Result<Option<Zeroizing<String>>, Fault> {
    // systemd lets the group in for its access list, and keeps others out.
    let exposed = if place.origin == Origin::Credential { 0o007 } else { 0o077 };
    let path = printable(&place.path);
    let fault = |words: String| Fault::new(Exit::Config, format!("{path}: {words}"));
    match load(&place.path, exposed) {
        Ok(password) => Ok(Some(password)),
        Err(PasswordError::File(LoadError::Io(error)))
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
                && !place.origin.is_explicit() =>
        {
            Ok(None)
        }
        Err(PasswordError::File(LoadError::Exposed { mode })) => {
            let fault = fault(format!("others can access the password of the proxy (mode {mode:04o})"));
            Err(fault.hint(format!("chmod 600 {path}")))
        }
        Err(PasswordError::File(LoadError::Io(error))) => Err(fault(chain(&error))),
        Err(PasswordError::File(LoadError::NotRegular)) => Err(fault("not a regular file".to_owned())),
        Err(PasswordError::File(LoadError::TooLong | LoadError::Parse(_)) | PasswordError::NotOneLine) => {
            Err(fault("not a password: that is one line of text".to_owned()))
        }
    }
}

/// The command with the relay's host and port in it, as ssh fills in `%h`, `%p` and `%%`.
fn filled_in(command: &str, relay: &RelayAddress) -> Result<OsString, Fault> {
    let mut filled = String::with_capacity(command.len());
    let mut letters = command.chars();
    while let Some(letter) = letters.next() {
        match (letter, (letter == '%').then(|| letters.next()).flatten()) {
            ('%', Some('%')) => filled.push('%'),
            // A host has only letters, digits and what no shell reads otherwise.
            ('%', Some('h')) => filled.push_str(&relay.host),
            // To a string it does not fail.
            ('%', Some('p')) => drop(write!(filled, "{}", relay.port)),
            ('%', other) => {
                let other = other.map(String::from).unwrap_or_default();
                let text = format!("--proxy-command: %{} stands for nothing", printable(&other));
                return Err(
                    Fault::new(Exit::Usage, text).hint("%h is the relay's host, %p its port, %% a percent sign")
                );
            }
            (letter, _) => filled.push(letter),
        }
    }
    Ok(filled.into())
}

#[cfg(test)]
#[path = "tests/proxy.rs"]
mod tests;
