//! Addresses as other tools have them.

use std::net::IpAddr;

/// What somebody meant whose `PEER[:APP]` was refused.
pub(crate) fn address(typed: &str) -> Option<String> {
    let form = "a peer is named as PEER[:APP]";
    if let Some((before, host)) = typed.split_once('@') {
        if before.rsplit('/').next().is_some_and(|id| id.starts_with("vp1")) {
            return Some(format!("that is the address of a relay, for -r; {form}"));
        }
        let host = host.split(['/', ':']).next().unwrap_or_default();
        return Some(format!("{form}, without a user: {}", with_app(host, app_of(typed))));
    }
    if let Some((_, rest)) = typed.split_once("://") {
        let host = rest.split(['/', ':']).next().unwrap_or_default();
        return Some(format!("{form}, without a scheme: {}", with_app(host, app_of(rest))));
    }
    if let Some((_, peer)) = typed.rsplit_once('=') {
        return Some(format!("{form}, without a port: {peer}"));
    }
    let name = typed.split(':').next().unwrap_or_default();
    if is_host(typed) || (name.contains('.') && !name.contains('/')) {
        return Some(
            "a peer is a name of the peers file, not a host: the only host is in the relay's address".to_owned(),
        );
    }
    match typed.split_once(':') {
        Some((peer, "")) => Some(format!("without an application it is {peer}, which means {peer}:drop")),
        Some((peer, app)) if app.starts_with(':') => {
            Some(format!("{form}: {}", with_app(peer, app.trim_start_matches(':'))))
        }
        Some((peer, app)) if app.contains(['/', '~']) => Some(format!(
            "{form}: {}; the other end says where that leads, such as vp-recv APP -d DIR",
            with_app(peer, app.trim_end_matches('/'))
        )),
        Some((peer, app)) => app.contains(':').then(|| {
            let first = app.split(':').next().unwrap_or_default();
            format!("{form}, with one colon: {}", with_app(peer, first))
        }),
        None => {
            let (peer, app) = typed.split_once('/')?;
            Some(format!("{form}: {}", with_app(peer, app)))
        }
    }
}

/// What somebody meant who named many peers, or all, where one is named.
pub(crate) fn one_of_many(typed: &str) -> Option<String> {
    if ["*", "all", "any", "ANY", "ALL"].contains(&typed) {
        return Some("where nobody is named, everybody in the peers file may: leave the option out".to_owned());
    }
    let first = typed.split(',').next().filter(|first| *first != typed)?;
    Some(format!("each has an option of its own, as often as wanted: the first names {first}"))
}

/// An address of IP, or a network, with or without a port.
fn is_host(typed: &str) -> bool {
    let host = typed.split('/').next().unwrap_or_default();
    let without_port = host.rsplit_once(':').map_or(host, |(host, _)| host).trim_matches(['[', ']']);
    host.parse::<IpAddr>().is_ok() || without_port.parse::<IpAddr>().is_ok()
}

/// What stands behind the host.
fn app_of(typed: &str) -> &str {
    typed.rsplit_once(':').or_else(|| typed.rsplit_once('/')).map_or("", |(_, app)| app)
}

/// With the application, if it can be one.
fn with_app(peer: &str, app: &str) -> String {
    match app.parse::<crate::names::AppName>() {
        Ok(app) => format!("{peer}:{app}"),
        Err(_) => format!("{peer}:APP"),
    }
}

/// An address to listen on that somebody meant, with a port.
pub(super) fn listening(typed: &str) -> String {
    let typed = typed.split_once("://").map_or(typed, |(_, rest)| rest);
    let typed = typed.split_once('@').map_or(typed, |(_, rest)| rest);
    let is_port = |port: &str| port.parse::<u16>().is_ok();
    let (host, port) = match typed.rsplit_once(':') {
        Some((host, port)) if is_port(port) => (host, port),
        None if is_port(typed) => ("", typed),
        // A port beyond 65535.
        Some((host, _)) if host.parse::<IpAddr>().is_ok() => (host, "4433"),
        _ => (typed, "4433"),
    };
    match host.trim_matches(['[', ']']) {
        "localhost" => format!("127.0.0.1:{port}"),
        host => match host.parse::<IpAddr>() {
            Ok(IpAddr::V4(host)) => format!("{host}:{port}"),
            Ok(IpAddr::V6(host)) => format!("[{host}]:{port}"),
            Err(_) => format!("[::]:{port}"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_other_tools_have_their_line() {
        for (typed, part) in [
            ("user@depot:x", "without a user: depot:x"),
            ("user@depot", "without a user: depot:APP"),
            ("user@depot:/srv/x", "without a user: depot:APP"),
            ("depot:/tmp/x", "PEER[:APP]: depot:APP; the other end"),
            ("depot:~/x", "vp-recv APP -d DIR"),
            ("depot:orders/", "depot:orders; the other end"),
            ("depot/orders", "PEER[:APP]: depot:orders"),
            ("depot::orders", "PEER[:APP]: depot:orders"),
            ("depot:", "depot:drop"),
            ("5432=depot:pg", "without a port: depot:pg"),
            ("depot:pg:5432", "with one colon: depot:pg"),
            ("rsync://depot/orders", "without a scheme: depot:orders"),
            ("tcp://depot:pg", "without a scheme: depot:pg"),
            ("tcp://vp1qq@relay.example.com:4433", "address of a relay"),
            ("vp1qq@relay.example.com", "address of a relay"),
            ("127.0.0.1:22", "not a host"),
            ("10.0.0.0/8", "not a host"),
            ("[::1]:22", "not a host"),
            ("::1", "not a host"),
            ("db.example.com:5432", "not a host"),
        ] {
            let found = address(typed).unwrap_or_default();
            assert!(found.contains(part), "{typed}: {found}");
        }
        assert_eq!(address("depot"), None);
        assert_eq!(address("depot:pg"), None);
    }

    #[test]
    fn many_are_named_one_by_one() {
        assert!(one_of_many("*").is_some_and(|line| line.contains("leave the option out")));
        assert!(one_of_many("shop,depot").is_some_and(|line| line.contains("the first names shop")));
        assert_eq!(one_of_many("shop"), None);
    }

    #[test]
    fn address_to_listen_on_has_a_port() {
        for (typed, meant) in [
            ("4433", "[::]:4433"),
            (":443", "[::]:443"),
            ("*:443", "[::]:443"),
            ("0.0.0.0", "0.0.0.0:4433"),
            ("localhost:1", "127.0.0.1:1"),
            ("127.0.0.1:99999", "127.0.0.1:4433"),
            ("tcp://10.0.0.1:1", "10.0.0.1:1"),
            ("::1", "[::]:1"),
            ("[::1]", "[::1]:4433"),
            ("relay.example.com:443", "[::]:443"),
        ] {
            assert_eq!(listening(typed), meant, "{typed}");
        }
    }
}
