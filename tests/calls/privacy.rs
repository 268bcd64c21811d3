//! What a caller is and says stays out of the log, at its most talkative level too.

use crate::support::{Phone, TestServer};
use offhook::base::Pii;
use offhook::sip::Uri;
use offhook::sip::event::{EndCause, Party};
use offhook::tools::EgressPolicy;
use std::io::Write;
use std::sync::{Mutex, PoisonError};
use tracing_subscriber::fmt::MakeWriter;

const AGENT: &str = include_str!("../data/agents/greeter.yaml");
const NUMBER: &str = "4930555017";
const NAME: &str = "Wilhelmina";
const WORDS: &str = "marmalade";

static LOG: Mutex<String> = Mutex::new(String::new());

struct Writer;

impl Write for Writer {
    fn write(&mut self, octets: &[u8]) -> std::io::Result<usize> {
        LOG.lock().unwrap_or_else(PoisonError::into_inner).push_str(&String::from_utf8_lossy(octets));
        Ok(octets.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Writer {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        Self
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neither_number_nor_name_nor_words_of_a_caller_are_logged_at_any_level() {
    let log = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(Writer).finish();
    tracing::subscriber::set_global_default(log).expect("the only log of the process");
    tracing::info!(number = ?Pii::new(NUMBER), "this_test_began");
    let mut server = TestServer::start(AGENT, &["Yes, marmalade."], EgressPolicy::default()).await;
    let mut phone = Phone::dial(&server.server, [127, 0, 0, 1], |invite| {
        let uri = Uri::parse(format!("sip:{NUMBER}@127.0.0.1")).unwrap();
        invite.from = Party { display: Some(NAME.to_owned()), uri };
        invite.headers.push(("X-Customer".to_owned(), NUMBER.to_owned()));
    })
    .await
    .unwrap();
    phone.line.answered().await.unwrap();
    phone.wait_for(true, 5).await;
    phone.wait_for(false, 30).await;
    phone.speak(600).await;
    assert_eq!(phone.ended().await, EndCause::Remote);
    server.completes().await;
    let log = LOG.lock().unwrap_or_else(PoisonError::into_inner);
    assert!(log.contains("this_test_began"), "nothing is logged at all");
    let shown: Vec<&str> =
        log.lines().filter(|line| [NUMBER, NAME, WORDS].iter().any(|canary| line.contains(canary))).collect();
    assert!(shown.is_empty(), "{} of {} lines: {shown:#?}", shown.len(), log.lines().count());
}
