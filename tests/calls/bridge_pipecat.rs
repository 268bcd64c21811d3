//! Two-way calls with bots in Python: one of Pipecat's own parts, its WebSocket transport and its Twilio serializer,
//! unmodified, and the one of `examples/bots`, whose library comes with Pipecat.

use crate::support::{Phone, TestServer};
use offhook::agent::Agent;
use offhook::call::CallEvent;
use offhook::sip::event::EndCause;
use offhook::tools::{EgressPolicy, HostRule};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

const CALLER: [u8; 4] = [127, 0, 0, 1];
/// Pipecat takes some ten seconds to be imported on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A bot in a process of its own.
struct Parrot {
    /// Killed when dropped.
    _process: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Parrot {
    async fn start(program: &[&str]) -> Self {
        let python = crate::common::speech::cache().join("pipecat/bin/python");
        assert!(python.is_file(), "{}: no Pipecat; run `make pipecat` once", python.display());
        let mut process = Command::new(python)
            .args(program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { _process: process, lines }
    }

    /// The rest of the next line that begins with this word.
    async fn line(&mut self, word: &str) -> String {
        let wait = async {
            while let Some(line) = self.lines.next_line().await.unwrap() {
                if let Some(rest) = line.strip_prefix(word) {
                    return rest.trim().to_owned();
                }
            }
            panic!("the bot has ended without `{word}`");
        };
        tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("the bot never said `{word}`"))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pipecat_bot_hears_speaks_takes_keys_is_interrupted_and_ends_the_call() {
    let mut parrot = Parrot::start(&["tests/interop/pipecat/parrot.py"]).await;
    let port: u16 = parrot.line("port").await.parse().unwrap();
    let rule = HostRule::new("127.0.0.1").ports([port]).danger_allow_private_addresses().danger_allow_http();
    let agent = format!(
        "agent: parrot\nbridge:\n  url: ws://127.0.0.1:{port}/media\n  protocol: twilio\n  connect_timeout: 10s\n  \
         parameters: {{caller: \"{{{{ call.caller_number }}}}\"}}\n"
    );
    assert!(Agent::parse("parrot.yaml", &agent, &[]).is_ok());
    let mut server = TestServer::start(&agent, &[], EgressPolicy::new([rule])).await;
    let mut phone = Phone::call(&server.server, CALLER).await.unwrap();
    assert_eq!(phone.while_talking(parrot.line("start")).await, "twilio MZ CA phone");
    // A second of the caller's audio comes before any of it is loud.
    assert_eq!(phone.while_talking(parrot.line("audio")).await, "8000");
    phone.speak(1_500).await;
    phone.wait_for(true, 20).await;
    phone.wait_for(false, 40).await;

    phone.line.press('3');
    assert_eq!(phone.while_talking(parrot.line("key")).await, "3");

    // Interrupted, it falls silent before its answer is over: the serializer sends `clear`.
    phone.speak(3_000).await;
    phone.wait_for(true, 10).await;
    phone.line.press('5');
    let pressed = Instant::now();
    assert_eq!(phone.while_talking(parrot.line("key")).await, "5");
    phone.wait_for(false, 20).await;
    assert!(pressed.elapsed() < Duration::from_millis(2_500), "{:?}", pressed.elapsed());

    phone.line.press('9');
    let (_, ended) = tokio::join!(parrot.line("over"), phone.ended());
    assert_eq!(ended, EndCause::Remote);
    let figures = server
        .event("the end", |e| if let CallEvent::CallEnded { media, .. } = e { Some(media.clone()) } else { None })
        .await;
    let figure = |name| figures.iter().find(|(known, _)| *known == name).unwrap().1;
    assert_eq!(figure("bot_connections"), 1, "{figures:?}");
    assert_eq!((figure("bot_faulty_messages"), figure("bot_unknown_messages")), (0, 0), "{figures:?}");
    assert!(figure("bot_audio_ms") > 2_000 && figure("bot_audio_dropped_ms") == 0, "{figures:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_bot_of_the_examples_holds_a_call_with_the_agent_file_of_the_examples() {
    let mut parrot = Parrot::start(&["examples/bots/parrot.py", "0"]).await;
    let port: u16 = parrot.line("listening on").await.parse().unwrap();
    let rule = HostRule::new("127.0.0.1").ports([port]).danger_allow_private_addresses().danger_allow_http();
    let example = std::fs::read_to_string("examples/bridge.yaml").unwrap();
    let checked = offhook::agent::check("examples/bridge.yaml", &example, &[]);
    assert!(checked.report.diagnostics.is_empty(), "{}", checked.report);
    let agent = example.replace("127.0.0.1:8765", &format!("127.0.0.1:{port}"));
    let mut server = TestServer::start(&agent, &[], EgressPolicy::new([rule])).await;
    let mut phone = Phone::call(&server.server, CALLER).await.unwrap();
    assert!(phone.while_talking(parrot.line("{'type': 'start'")).await.contains("'caller': 'phone'"));
    phone.speak(600).await;
    phone.wait_for(true, 15).await;
    phone.wait_for(false, 20).await;
    phone.line.press('#');
    let reason = server
        .event("the end", |e| if let CallEvent::CallEnded { reason, .. } = e { Some(reason.clone()) } else { None });
    let (reason, _) = tokio::join!(reason, phone.ended());
    assert_eq!(reason, "the caller is done");
}
