//! Telephones, and a proxy in front of us: each holds a call with our echo and hears its own voice.

use std::{net::Ipv4Addr, path::PathBuf, process::Command, thread, time::Duration};

use crate::phones::{Line, Pjsua, call_once};
use crate::support::{
    Bench, PATIENCE, Running, Server, babble, compare, offhook, run, script, sipp, sipp_count, wait_until, write_ulaw,
};
use crate::table::Case;

const FEATURE: &str = "holds a call, hears its echo";

/// What `certificates.sh` makes, for our address and the proxy's.
fn keys(bench: &Bench) -> PathBuf {
    let keys = bench.path().join("keys");
    run(Command::new(script("certificates.sh"))
        .arg(&keys)
        .args([bench.address(20).to_string(), bench.address(40).to_string()]));
    keys
}

/// The echo for whoever calls from loopback, by UDP, TCP and TLS.
fn echo(bench: &Bench, keys: &std::path::Path) -> Server {
    let ip = bench.address(20);
    let listen = format!(
        "sip_listen = [\"udp:{ip}:5060\", \"tcp:{ip}:5060\", \"tls:{ip}:5061\"]\n\n[server.tls]\n\
         certificate = \"{0}/good.crt\"\nkey = \"{0}/good.key\"",
        keys.display()
    );
    let trunk = "[[trunk]]\nname = \"phones\"\nhosts = [\"127.0.0.0/8\"]\nagent = \"echo\"\n";
    Server::start_on(bench, &listen, trunk)
}

/// Five seconds of speech, and silence until whoever plays it has hung up.
fn spoken() -> Vec<i16> {
    let mut spoken = babble(5);
    spoken.extend(vec![0; 20 * 8_000]);
    spoken
}

#[track_caller]
fn assert_echo(heard: &[i16], peer: &str) {
    let found = compare(&babble(5), heard);
    assert!(found.share() >= 0.9, "{peer}: {found:?}");
}

/// pjsua, baresip, linphonec and sipp at the same time: `ca` makes it TLS.
fn all_hold_a_call(bench: &Bench, server: &Server, keys: Option<&std::path::Path>) {
    let transport = if keys.is_some() { "TLS" } else { "UDP" };
    let ca = keys.map(|keys| keys.join("ca.crt"));
    let ip = bench.address(20);
    let uri = if ca.is_some() { format!("sip:echo@{ip}:5061;transport=tls") } else { format!("sip:echo@{ip}:5060") };
    let line = |ip: Ipv4Addr| Line { ca: ca.clone(), ..Line::unregistered(ip) };
    let directory = |name: &str| bench.path().join(format!("{name}-{transport}"));
    thread::scope(|scope| {
        scope.spawn(|| {
            let _case = Case::begin("pjsua", FEATURE, transport);
            let mut phone = Pjsua::start(&directory("pjsua"), &line(bench.address(30)), &spoken());
            phone.call(&uri);
            phone.wait_for("state changed to CONFIRMED", 1);
            crate::support::pause(Duration::from_secs(7));
            phone.hang_up();
            assert_echo(&phone.stop(), "pjsua");
        });
        // baresip cannot share port 5060 of the first loopback address, which is the only one its RTP leaves from.
        for (kind, ip, port) in
            [("baresip", Ipv4Addr::LOCALHOST, bench.loopback_port(0)), ("linphonec", bench.address(31), 5_060)]
        {
            let line = Line { port, ..line(ip) };
            let (directory, uri) = (directory(kind), &uri);
            scope.spawn(move || {
                let _case = Case::begin(kind, FEATURE, transport);
                assert_echo(&call_once(kind, &directory, &line, &spoken(), uri, 7), kind);
            });
        }
        scope.spawn(|| {
            let _case = Case::begin("sipp", "holds ten calls", transport);
            let (ip, directory) = (bench.address(32).to_string(), directory("sipp"));
            let mut command = sipp(
                &directory,
                "caller",
                &["-s", "echo", "-i", &ip, "-mi", &ip, "-m", "10", "-r", "5", "-d", "6000", "-timeout", "30"],
            );
            match keys {
                None => command.arg(format!("{}:5060", bench.address(20))),
                Some(keys) => {
                    command.args(["-t", "l1"]).arg("-tls_cert").arg(keys.join("client.crt"));
                    command.arg("-tls_key").arg(keys.join("client.key")).arg("-tls_ca").arg(keys.join("ca.crt"));
                    command.arg(format!("{}:5061", bench.address(20)))
                }
            };
            write_ulaw(&directory.join("speech.ulaw"), &babble(5));
            run(&mut command);
            let count = sipp_count(&directory);
            assert_eq!((count.successful, count.failed, count.unexpected), (10, 0, 0), "{count:?}");
        });
    });
    // Three telephones and ten calls of sipp.
    wait_until(PATIENCE, "every call is over", || server.events_named("call_ended").len() >= 13);
    assert_eq!((server.events_named("call_started").len(), server.events_named("call_ended").len()), (13, 13));
    for ended in server.events_named("call_ended") {
        assert!(ended["media"]["received"].as_u64() > Some(240), "{ended}");
    }
}

#[test]
fn pjsua_baresip_linphonec_and_sipp_hold_calls_by_udp() {
    let bench = Bench::open_beside_others();
    let server = Server::start(&bench, "[[trunk]]\nname = \"phones\"\nhosts = [\"127.0.0.0/8\"]\nagent = \"echo\"\n");
    all_hold_a_call(&bench, &server, None);
}

#[test]
fn pjsua_baresip_linphonec_and_sipp_hold_calls_by_tls() {
    let bench = Bench::open_beside_others();
    let keys = keys(&bench);
    let server = echo(&bench, &keys);
    all_hold_a_call(&bench, &server, Some(&keys));
}

#[test]
fn a_telephone_that_is_handed_our_call_takes_it_over_where_that_is_allowed() {
    let _case = Case::begin("pjsua", "INVITE with Replaces takes our call over", "UDP");
    let bench = Bench::open_beside_others();
    let trunk = "[[trunk]]\nname = \"phones\"\nhosts = [\"127.0.0.0/8\"]\nagent = \"echo\"\naccept_replaces = true\n";
    let server = Server::start(&bench, trunk);
    let heir = Line { user: "heir".to_owned(), ..Line::unregistered(bench.address(31)) };
    let heir = Pjsua::start(&bench.path().join("heir"), &heir, &spoken());
    let mut phone = Pjsua::start(&bench.path().join("pjsua"), &Line::unregistered(bench.address(30)), &spoken());
    phone.call(&format!("sip:echo@{}", bench.address(20)));
    phone.wait_for("Call 0 state changed to CONFIRMED", 1);
    phone.call(&format!("sip:heir@{}", bench.address(31)));
    phone.wait_for("Call 1 state changed to CONFIRMED", 1);
    phone.transfer_to_call("0");
    heir.wait_for("Call 1 state changed to CONFIRMED", 1);
    crate::support::pause(Duration::from_secs(6));
    phone.stop();
    let heard = heir.stop();
    server.wait_for("call_ended", PATIENCE);
    let found = compare(&babble(5), &heard);
    assert!(found.share() >= 0.5, "the heir hears its own echo: {found:?}");
}

/// Kamailio on the bench's address 40 in front of our server; it ends, with its children, when this is dropped.
struct Kamailio(Running);

impl Kamailio {
    fn start(bench: &Bench, keys: &std::path::Path) -> Self {
        let (ip, server) = (bench.address(40), bench.address(20));
        let mut command = Command::new(script("kamailio.sh"));
        let addresses = [ip, server, bench.address(30)].map(|address| address.to_string());
        command.arg(bench.path().join("kamailio")).args(addresses).arg(keys);
        let this = Self(Running::start("kamailio", &mut command, bench.path().join("kamailio.log")));
        wait_until(PATIENCE, "Kamailio listens", || std::net::TcpStream::connect((ip, 5061)).is_ok());
        this
    }
}

impl Drop for Kamailio {
    fn drop(&mut self) {
        if self.0.is_running() {
            self.0.terminate(Duration::from_secs(5));
        }
    }
}

/// A call of pjsua through the proxy, which it reaches by `transport`; we hear it by UDP.
fn through_the_proxy(transport: &'static str) {
    let _case = Case::begin("kamailio", "edge proxy with Record-Route: call, hold, resume, hang up", transport);
    let bench = Bench::open_beside_others();
    let keys = keys(&bench);
    let _proxy = Kamailio::start(&bench, &keys);
    let trunk = format!("[[trunk]]\nname = \"edge\"\nhosts = [\"{}\"]\nagent = \"echo\"\n", bench.address(40));
    let server = Server::start(&bench, &trunk);
    let mut line = Line::unregistered(bench.address(30));
    let mut uri = format!("sip:echo@{}", bench.address(40));
    if transport == "TLS" {
        line.ca = Some(keys.join("ca.crt"));
        uri += ":5061;transport=tls";
    }
    let mut phone = Pjsua::start(&bench.path().join("pjsua"), &line, &spoken());
    phone.call(&uri);
    phone.wait_for("state changed to CONFIRMED", 1);
    crate::support::pause(Duration::from_secs(6));
    // Requests within the call, both ways, find their way by the recorded route.
    phone.hold();
    phone.wait_for("status is Local hold", 1);
    phone.resume();
    phone.wait_for("status is Active", 2);
    phone.hang_up();
    let ended = server.wait_for("call_ended", PATIENCE);
    assert_eq!(ended["reason"], "the peer hung up", "{ended}");
    assert_echo(&phone.stop(), "pjsua, through Kamailio");
}

#[test]
fn a_call_through_a_proxy_that_stays_in_the_path_is_held_resumed_and_ended_by_udp() {
    through_the_proxy("UDP");
}

#[test]
fn a_call_through_a_proxy_that_takes_tls_from_the_caller_is_held_resumed_and_ended() {
    through_the_proxy("TLS");
}

#[test]
fn a_call_of_ours_through_a_proxy_that_stays_in_the_path_is_heard_and_ended() {
    let _case = Case::begin("kamailio", "edge proxy with Record-Route: a call of ours", "TLS");
    let bench = Bench::open_beside_others();
    let keys = keys(&bench);
    let _proxy = Kamailio::start(&bench, &keys);
    let (ip, edge) = (bench.address(20), bench.address(40));
    let config = bench.write(
        "trunk.toml",
        &format!(
            "[server]\nsip_listen = \"{ip}:5060\"\n\n[media]\nbind = \"{ip}\"\n\n[[trunk]]\nname = \"edge\"\nuser = \"4711\"\n\
             gateways = [\"{edge}:5061;transport=tls\"]\nagent = \"echo\"\ntls = {{ ca = \"{}\" }}\n",
            keys.join("ca.crt").display()
        ),
    );
    let phone = Pjsua::start(&bench.path().join("pjsua"), &Line::unregistered(bench.address(30)), &spoken());
    run(offhook().args(["call", "1002", "--seconds", "8", "--through", "edge", "-c"]).arg(config));
    // The one that it refused for its keys was its first call.
    phone.wait_for("Call 1 is DISCONNECTED [reason=200", 1);
    assert_echo(&phone.stop(), "pjsua, called through Kamailio");
}
