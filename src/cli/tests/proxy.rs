//! Which of options, variables and the file decides on a proxy, and what is said of one that makes no sense.

use super::*;
use crate::identity::PeerId;
use clap::Parser;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

#[derive(Parser)]
struct Words {
    #[command(flatten)]
    connect: Connect,
}

fn relay(place: &str) -> RelayAddress {
    place.replace("ID", &PeerId::from_bytes([5; 32]).to_string()).parse().expect("an address")
}

/// The way to a relay, in words.
fn told(words: &[&str], env: &[(&str, &str)], place: &str, file: Option<&str>) -> Result<String, Fault> {
    let connect = Words::try_parse_from(["vp-test"].iter().chain(words)).expect("good words").connect;
    let of_file = file.map(|text| ProxyAddress::parse(text).expect("a proxy"));
    let env = env.iter().copied().collect();
    let ways = ways(&connect, &env, vec![relay(place)], of_file)?;
    Ok(match &ways[0].1 {
        Way::Straight => "straight".to_owned(),
        Way::Command(command) => format!("by {}", command.display()),
        Way::Proxy(ProxyServer { named: Named { address, by }, login }) => {
            let login = if login.is_some() { " with login" } else { "" };
            format!("{address}{}{login}", by.map(|by| format!(" of {by}")).unwrap_or_default())
        }
    })
}

#[test]
fn a_flag_goes_before_variables_and_these_before_the_file() {
    let all = [("https_proxy", "http://a:1"), ("ALL_PROXY", "socks5://c:3"), ("NO_PROXY", "exempt.example")];
    let is = |words: &[&str], env: &[(&str, &str)], place: &str, file: Option<&str>, way: &str| {
        assert_eq!(told(words, env, place, file).as_deref(), Ok(way), "{words:?} {env:?} {place}");
    };
    is(&[], &[], "ID@h", None, "straight");
    is(&[], &[], "ID@h", Some("f:9"), "http://f:9");
    is(&[], &all, "ID@h", Some("f:9"), "http://a:1 of https_proxy");
    is(&[], &all[1..], "ID@h", Some("f:9"), "socks5://c:3 of ALL_PROXY");
    is(&[], &[("HTTPS_PROXY", "b:2"), all[1]], "tcp://ID@h", None, "http://b:2 of HTTPS_PROXY");
    is(&[], &[("HTTPS_PROXY", "b:2"), all[0]], "tcp://ID@h", None, "http://a:1 of https_proxy");
    is(&["--proxy", "socks5h://d:4"], &all, "ID@exempt.example", Some("f:9"), "socks5://d:4");
    for none in ["none", ""] {
        is(&["--proxy", none], &all, "ID@h", Some("f:9"), "straight");
    }
    is(&[], &all, "ID@www.exempt.example", Some("f:9"), "straight");
    is(&[], &all, "ID@127.0.0.1", None, "http://a:1 of https_proxy");
    // What HTTP carries without TLS has a variable of its own, which counts in small letters alone.
    is(&[], &[all[0], ("http_proxy", "e:5")], "ws://ID@h", None, "http://e:5 of http_proxy");
    is(&[], &[all[0], ("HTTP_PROXY", "e:5")], "ws://ID@h", Some("f:9"), "http://f:9");
    is(&[], &all, "ws://ID@h", None, "socks5://c:3 of ALL_PROXY");
    is(&[], &[("http_proxy", "e:5")], "tcp://ID@h", None, "straight");
    is(&["--proxy-command", "nc %h %p %%h"], &all, "ID@[::1]:7", None, "by nc ::1 7 %h");
}

#[test]
fn a_password_is_taken_from_its_file_and_from_variables_and_is_repeated_nowhere() {
    let home = tempfile::tempdir().expect("a directory");
    let file = home.path().join("proxy-password");
    let put = |text: &str, mode: u32| {
        fs::write(&file, text).expect("writable");
        fs::set_permissions(&file, Permissions::from_mode(mode)).expect("ours");
    };
    put("hunter2\n", 0o600);
    let named = ["--proxy", "http://u@p:1", "--proxy-password-file", file.to_str().expect("text")];
    assert_eq!(told(&named, &[], "ID@h", None).as_deref(), Ok("http://p:1 with login"));
    let credentials = [("CREDENTIALS_DIRECTORY", home.path().to_str().expect("text")), ("ALL_PROXY", "http://u@p:1")];
    put("hunter2\n", 0o440);
    assert_eq!(told(&[], &credentials, "ID@h", None).as_deref(), Ok("http://p:1 of ALL_PROXY with login"));
    assert_eq!(told(&[], &credentials[..1], "ID@h", Some("socks5://u@f")).as_deref(), Ok("socks5://f:1080 with login"));
    let inline = [("ALL_PROXY", "socks5://u:hunter2@p:1")];
    assert_eq!(told(&[], &inline, "ID@h", None).as_deref(), Ok("socks5://p:1 of ALL_PROXY with login"));

    let long = format!("http://u:{}@p", "hunter2".repeat(40));
    for (words, env, exit) in [
        (&["--proxy", "http://u:hunter2@p:1"][..], &[][..], Exit::Usage),
        (&["--proxy", "https://u:hunter2@p:1"], &[], Exit::Usage),
        (&["--proxy", "http://u@p:1"], &[], Exit::Config),
        (&["--proxy", "http://u@p:1", "--proxy-password-file", "/nonexistent/file"], &[], Exit::Config),
        (&named, &[], Exit::Config),
        (&[], &[("HTTPS_PROXY", "http://u:hunter2@p:x")], Exit::Config),
        (&[], &[("HTTPS_PROXY", &*long)], Exit::Config),
        (&["--proxy-command", "nc %h %q"], &[], Exit::Usage),
        (&["--proxy-command", "nc %"], &[], Exit::Usage),
    ] {
        let fault = told(words, env, "ID@h", None).expect_err("no way");
        assert_eq!(fault.exit, exit, "{fault:?}");
        assert!(!format!("{fault:?}").contains("hunter2"), "{fault:?}");
    }
    let fault = told(&named, &[], "ID@h", None).expect_err("others can read it");
    assert!(fault.message.contains("mode 0440") && fault.hints[0].starts_with("chmod 600 "), "{fault:?}");
    let connect = Words::try_parse_from(["vp-test", "--proxy", "http://u:hunter2@p"]).expect("good words").connect;
    assert!(!format!("{connect:?}").contains("hunter2"));
}
