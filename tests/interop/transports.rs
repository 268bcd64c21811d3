//! An extension and a trunk of a real Asterisk by UDP, TCP and TLS: registered, called, calling; what becomes of a
//! power cut, and of certificates that are not right.

use std::{path::Path, time::Duration};

use crate::support::{
    Asterisk, Bench, PATIENCE, Server, agent_file, babble, compare, offhook, run, signal, wait_until,
};
use crate::table::Case;

const ASTERISK: &str = "asterisk";

/// `[[extension]]` of `user`, answered by the echo, at `port` of the PBX.
fn extension(asterisk: &Asterisk, user: &str, transport: &str, port: u16, ca: &str) -> String {
    let tls = if transport == "tls" {
        format!("tls = {{ ca = \"{}\" }}\n", asterisk.key(ca).display())
    } else {
        String::new()
    };
    format!(
        "[[extension]]\nname = \"line-{user}\"\nregistrar = \"{}:{port}\"\ntransport = \"{transport}\"\nuser = \"{user}\"\n\
         password = \"secret{user}\"\nagent = \"echo\"\nprofile = \"freepbx\"\n{tls}\n",
        asterisk.socket().ip()
    )
}

/// Whether what the PBX played is in what came back.
#[track_caller]
fn assert_echoed(asterisk: &Asterisk, recording: &str, what: &str) {
    let found = compare(&babble(5), &asterisk.recording(recording));
    assert!(found.share() >= 0.8, "{what}: {found:?}");
}

fn registers_is_called_and_calls(transport: &'static str, name: &'static str, port: u16) {
    let bench = Bench::open_beside_others();
    let asterisk = Asterisk::start(&bench, 60);
    asterisk.set_played(&babble(5));
    let config = extension(&asterisk, "1001", transport, port, "ca.crt");
    let mut server = Server::start(&bench, &config);
    {
        let _case = Case::begin(ASTERISK, "extension registers", name);
        wait_until(PATIENCE, "the PBX shows 1001", || asterisk.has_contact("1001"));
        assert!(transport == "udp" || asterisk.cli("pjsip show contacts").contains(&format!("transport={transport}")));
    }
    {
        let _case = Case::begin(ASTERISK, "extension is called, audio compared", name);
        asterisk.set_global("PLAY_AFTER", "0.3");
        asterisk.set_global("LISTEN", "1");
        asterisk.cli("channel originate PJSIP/1001 extension play@interop");
        let ended = server.wait_for("call_ended", PATIENCE);
        assert_eq!(ended["reason"], "the peer hung up", "{ended}");
        assert_echoed(&asterisk, "play-in.wav", "called by the PBX");
    }
    let _case = Case::begin(ASTERISK, "extension unregisters", name);
    assert_eq!(server.stop(), Some(0));
    assert!(!asterisk.has_contact("1001"), "unregistered at the end");
    drop(_case);

    let _case = Case::begin(ASTERISK, "extension calls, audio compared", name);
    let ip = bench.address(20);
    let config = bench
        .write("call.toml", &format!("[server]\nsip_listen = \"{ip}:5060\"\n\n[media]\nbind = \"{ip}\"\n\n{config}"));
    run(offhook().args(["call", "625", "--seconds", "8", "-c"]).arg(config));
    assert_echoed(&asterisk, "625-in.wav", "calling the PBX");
}

#[test]
fn an_extension_registers_is_called_and_calls_by_udp() {
    registers_is_called_and_calls("udp", "UDP", 5060);
}

#[test]
fn an_extension_registers_is_called_and_calls_by_tcp() {
    registers_is_called_and_calls("tcp", "TCP", 5060);
}

#[test]
fn an_extension_registers_is_called_and_calls_by_tls() {
    registers_is_called_and_calls("tls", "TLS", 5061);
}

#[test]
fn a_server_that_is_told_twice_to_end_hangs_up_first() {
    let _case = Case::begin(ASTERISK, "server stops, its calls are hung up", "UDP");
    let bench = Bench::open_beside_others();
    let asterisk = Asterisk::start(&bench, 60);
    let mut server = Server::start(&bench, &extension(&asterisk, "1001", "udp", 5060, ""));
    wait_until(PATIENCE, "the PBX shows 1001", || asterisk.has_contact("1001"));
    asterisk.set_global("PLAY_AFTER", "60");
    asterisk.cli("channel originate PJSIP/1001 extension play@interop");
    server.wait_for("call_started", PATIENCE);
    signal(server.pid(), "TERM");
    wait_until(PATIENCE, "it waits for the call", || server.errors().contains("waiting for 1 to end"));
    assert_eq!(asterisk.channels(), 1);
    assert_eq!(server.stop(), Some(0));
    wait_until(PATIENCE, "the PBX has no call", || asterisk.channels() == 0);
}

#[test]
fn streams_to_a_pbx_that_lost_power_are_opened_again_and_the_extensions_registered() {
    let bench = Bench::open_beside_others();
    let asterisk = Asterisk::start(&bench, 60);
    let config = extension(&asterisk, "1001", "tcp", 5060, "") + &extension(&asterisk, "1002", "tls", 5061, "ca.crt");
    let _server = Server::start(&bench, &config);
    let both = || asterisk.has_contact("1001") && asterisk.has_contact("1002");
    wait_until(Duration::from_secs(30), "both are registered", both);
    asterisk.power_cycle();
    let _tcp = Case::begin(ASTERISK, "PBX restarts, extension heals", "TCP");
    let _tls = Case::begin(ASTERISK, "PBX restarts, extension heals", "TLS");
    // While nobody listens it is tried after up to 2, 4, 8 and 16 s. A PBX that listens while it still loads may drop what
    // comes by a stream, where nothing is sent again: 10 s until the next try; or refuse it: 15 to 30 s, then up to 60 s.
    wait_until(Duration::from_secs(150), "both are registered again", both);
}

#[test]
fn a_certificate_that_is_over_or_somebody_elses_or_of_an_unknown_authority_is_refused_in_words() {
    let bench = Bench::open_beside_others();
    let asterisk = Asterisk::start(&bench, 60);
    let config = extension(&asterisk, "1001", "tls", 5062, "ca.crt")
        + &extension(&asterisk, "1002", "tls", 5063, "ca.crt")
        + &extension(&asterisk, "1003", "tls", 5061, "unknown.crt");
    let server = Server::start(&bench, &config);
    let reason = |user: &str| {
        let name = format!("line-{user}");
        server.events_named("registration").into_iter().find_map(|event| {
            (event["extension"] == name && event["state"] == "failed").then(|| event.to_string().to_lowercase())
        })
    };
    for (feature, user, words) in [
        ("certificate expired: refused in words", "1001", "expired"),
        ("certificate of another name: refused in words", "1002", "somebody-else.test"),
        ("certificate of an unknown authority: refused in words", "1003", "signed by cn=offhook tests ca"),
    ] {
        let _case = Case::begin(ASTERISK, feature, "TLS");
        wait_until(PATIENCE, feature, || reason(user).is_some());
        let reason = reason(user).expect("it is there");
        assert!(reason.contains(words), "{reason}");
        assert!(!asterisk.has_contact(user), "not registered");
    }
}

#[test]
fn a_trunk_takes_calls_by_udp_tcp_and_tls() {
    let bench = Bench::open_beside_others();
    let asterisk = Asterisk::start(&bench, 60);
    let ip = bench.address(20);
    let listen = format!(
        "sip_listen = [\"udp:{ip}:5060\", \"tcp:{ip}:5060\", \"tls:{ip}:5061\"]\n\n[server.tls]\n\
         certificate = \"{}\"\nkey = \"{}\"",
        asterisk.key("good.crt").display(),
        asterisk.key("good.key").display()
    );
    let trunk = format!("[[trunk]]\nname = \"pbx\"\nhosts = [\"{}\"]\nagent = \"echo\"\n", asterisk.socket().ip());
    let server = Server::start_on(&bench, &listen, &trunk);
    asterisk.set_played(&babble(5));
    asterisk.set_global("PLAY_AFTER", "0.3");
    asterisk.set_global("LISTEN", "1");
    for (number, (endpoint, name)) in [("trunk-ip", "UDP"), ("line-tcp", "TCP"), ("line-tls", "TLS")].iter().enumerate()
    {
        let _case = Case::begin(ASTERISK, "trunk calls us, audio compared", name);
        asterisk.cli(&format!("channel originate PJSIP/{endpoint} extension play@interop"));
        wait_until(PATIENCE, name, || server.events_named("call_ended").len() > number);
        assert_echoed(&asterisk, "play-in.wav", name);
    }
}

#[test]
fn calls_of_ours_go_out_over_a_trunk_by_udp_tcp_and_tls_and_with_a_password() {
    let bench = Bench::open_beside_others();
    let asterisk = Asterisk::start(&bench, 60);
    asterisk.set_played(&babble(5));
    let (ip, pbx) = (bench.address(20), asterisk.socket().ip());
    let ca = asterisk.key("ca.crt");
    let trunk = |gateway: &str, more: &str| {
        bench.write(
            &format!("trunk-{}.toml", gateway.len() + more.len()),
            &format!(
                "[server]\nsip_listen = \"{ip}:5060\"\n\n[media]\nbind = \"{ip}\"\n\n[[trunk]]\nname = \"pbx\"\n\
                 gateways = [\"{pbx}:{gateway}\"]\nagent = \"echo\"\n{more}\n"
            ),
        )
    };
    let call = |number: &str, config: &Path| {
        let mut command = offhook();
        command.args(["call", number, "--seconds", "7", "--ring", "3", "--through", "pbx", "-c"]).arg(config);
        command
    };
    let plain = trunk("5060", "user = \"4711\"");
    let over = "we call over a trunk, audio compared";
    for (config, feature, transport) in [
        (&plain, over, "UDP"),
        (&trunk("5060;transport=tcp", "user = \"4711\""), over, "TCP"),
        (&trunk("5061;transport=tls", &format!("user = \"4711\"\ntls = {{ ca = \"{}\" }}", ca.display())), over, "TLS"),
        (
            &trunk("5060", "user = \"trunk-cred\"\nusername = \"trunk-cred\"\npassword = \"trunksecret\""),
            "credential trunk, ours to them",
            "UDP",
        ),
    ] {
        let _case = Case::begin(ASTERISK, feature, transport);
        run(&mut call("625", config));
        assert_echoed(&asterisk, "625-in.wav", transport);
        std::fs::remove_file(asterisk.recording_file("625-in.wav")).expect("it is there");
    }
    let _case = Case::begin(ASTERISK, "busy and no answer said in words by offhook call", "UDP");
    for (number, words) in [("614", "busy"), ("616", "no answer")] {
        let output = call(number, &plain).output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr).to_lowercase();
        assert!(!output.status.success() && said.contains(words), "{number}: {said}");
    }
    wait_until(PATIENCE, "the PBX has no call", || asterisk.channels() == 0);
}

#[test]
fn a_transfer_that_a_trusted_pbx_asks_for_is_carried_out() {
    let _case = Case::begin(ASTERISK, "REFER to us, where it is allowed", "UDP");
    let bench = Bench::open_beside_others();
    let asterisk = Asterisk::start(&bench, 60);
    let pbx = asterisk.socket().ip();
    let trunk = format!(
        "[agents]\nlibrary = {}\n\n[[trunk]]\nname = \"pbx\"\nhosts = [\"{pbx}\"]\ngateways = [\"{pbx}:5060\"]\n\
         user = \"4711\"\nagent = \"library\"\naccept_refer = true\nallowed_prefixes = [\"604\"]\n",
        agent_file("library")
    );
    let _server = Server::start(&bench, &trunk);
    asterisk.trace();
    asterisk.cli("channel originate PJSIP/trunk-ip extension refer@interop");
    // Two channels of the PBX write them down, in either order.
    for (key, value) in [("transfer", "SUCCESS"), ("arrived", "4711")] {
        wait_until(PATIENCE, key, || asterisk.database(key).is_some());
        assert_eq!(asterisk.database(key).as_deref(), Some(value), "{key}");
    }
}

#[test]
fn a_pbx_that_knows_our_password_is_taken_and_one_that_does_not_is_not() {
    let bench = Bench::open_beside_others();
    let asterisk = Asterisk::start(&bench, 60);
    let trunk = |password: &str| {
        format!(
            "[[trunk]]\nname = \"pbx\"\nhosts = [\"{}\"]\nagent = \"echo\"\ninbound_username = \"pbxuser\"\n\
             inbound_password = \"{password}\"\n",
            asterisk.socket().ip()
        )
    };
    let originate = || {
        asterisk.set_global("PLAY_AFTER", "0.3");
        asterisk.set_global("LISTEN", "1");
        asterisk.cli("channel originate PJSIP/trunk-cred extension play@interop")
    };
    asterisk.set_played(&babble(5));
    {
        let _case = Case::begin(ASTERISK, "credential trunk, theirs to us", "UDP");
        let server = Server::start(&bench, &trunk("pbxsecret"));
        originate();
        server.wait_for("call_ended", PATIENCE);
        assert_echoed(&asterisk, "play-in.wav", "the PBX with the right password");
    }
    let _case = Case::begin(ASTERISK, "credential trunk, theirs to us, wrong password", "UDP");
    let server = Server::start(&bench, &trunk("another"));
    asterisk.trace();
    originate();
    wait_until(PATIENCE, "the PBX gives up", || {
        asterisk.channels() == 0 && asterisk.messages().iter().any(|m| !m.sent && m.is("SIP/2.0 401"))
    });
    assert_eq!(server.events_named("call_started").len(), 0);
}
