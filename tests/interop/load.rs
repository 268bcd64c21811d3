//! Two hundred calls of sipp, and a telephone, against our echo.

use crate::common::speech::human_clips;
use crate::phones::{Line, call_once};
use crate::support::{
    Bench, PATIENCE, Server, compare, open_udp_ports, run, sipp, sipp_count, threads, wait_until, write_ulaw,
};

/// A trunk from `ip` to the echo.
fn echo_trunk(ip: std::net::Ipv4Addr) -> String {
    format!("[[trunk]]\nname = \"load\"\nhosts = [\"{ip}\"]\nagent = \"echo\"\n")
}

/// All human clips, one after the other.
fn speech() -> Vec<i16> {
    human_clips().into_iter().flat_map(|clip| clip.samples).collect()
}

#[test]
fn two_hundred_calls_complete_without_a_retransmission_storm_and_leave_nothing_behind() {
    const CALLS: u64 = 200;
    let bench = Bench::open();
    // A machine that is late for the sake of others would turn calls away.
    let config = format!("admission = \"off\"\n\n{}", echo_trunk(bench.address(30)));
    let mut server = Server::start(&bench, &config);
    let ports = open_udp_ports(server.pid());
    let all_closed = || wait_until(PATIENCE, "every port is closed", || open_udp_ports(server.pid()) == ports);
    let ip = bench.address(30).to_string();
    let target = format!("{}:5060", bench.address(20));
    let directory = bench.path().join("sipp");
    let load = |calls: &str, rate: &str, milliseconds: &str| {
        let mut command = sipp(
            &directory,
            "caller",
            &["-s", "echo", "-i", &ip, "-mi", &ip, "-m", calls, "-r", rate, "-d", milliseconds, "-timeout", "60"],
        );
        command.args(["-min_rtp_port", "10000", "-max_rtp_port", "19999", &target]);
        write_ulaw(&directory.join("speech.ulaw"), &speech());
        run(&mut command);
        sipp_count(&directory)
    };
    // One call first: what is started once has been started afterwards. The end of a call is told before its ports close.
    load("1", "1", "500");
    wait_until(PATIENCE, "the first call is over", || server.events_named("call_ended").len() == 1);
    all_closed();
    let tasks = threads(server.pid());

    let count = load(&CALLS.to_string(), "20", "10000");
    assert_eq!((count.successful, count.failed, count.unexpected), (CALLS, 0, 0), "{count:?}");
    assert!(count.retransmissions <= CALLS / 20, "{count:?}");

    wait_until(PATIENCE, "every call is over", || server.events_named("call_ended").len() as u64 > CALLS);
    assert_eq!(server.events_named("call_ended").len() as u64, CALLS + 1);
    all_closed();
    wait_until(PATIENCE, "no thread is left", || threads(server.pid()) <= tasks);
    // Ten seconds of audio came in and went back, in each call.
    for ended in server.events_named("call_ended").iter().skip(1) {
        let counted = |name: &str| ended["media"][name].as_u64().unwrap_or(0);
        assert!(counted("received") > 480 && counted("sent") > 480, "{ended}");
    }
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn a_telephone_hears_its_own_voice_from_our_echo() {
    let bench = Bench::open_beside_others();
    // baresip does not bind its RTP: whatever its description names, packets leave from the first loopback address.
    let ip = std::net::Ipv4Addr::LOCALHOST;
    let server = Server::start(&bench, &echo_trunk(ip));
    let mut played = speech();
    played.truncate(10 * 8_000);
    let voiced = played.len();
    // baresip hangs up at the end of its file.
    played.extend(vec![0; 40 * 8_000]);
    let line = Line { port: bench.loopback_port(0), ..Line::unregistered(ip) };
    let uri = format!("sip:echo@{}:5060", bench.address(20));
    let heard = call_once("baresip", &bench.path().join("baresip"), &line, &played, &uri, 12);
    server.wait_for("call_ended", PATIENCE);
    let found = compare(&played[..voiced], &heard);
    assert!(found.share() >= 0.95 && found.voiced > 40, "{found:?}");
}
