//! The smallest vendor: says back what it hears. Its sources show how a fake is written.

use std::time::Duration;

use serde_json::json;

use super::{Conversation, Message, Misbehaviour, Reply, Request, Say, Vendor};

/// The time between two chunks of a streamed reply.
const GAP: Duration = Duration::from_millis(5);

/// Echoes.
///
/// - `POST /echo` answers with the body; `POST /events` with one event per word of it and a last `[DONE]`.
/// - `GET /ws` is a conversation whose first message must be `{"type":"begin"}`. Texts come back as
///   `{"type":"final","text":…}`, octets as they are. `{"type":"speak"}` brings 20 ms of silence every 20 ms until
///   `{"type":"cancel"}`. `later`, `never`, `goodbye` and `vanish` try the other things a conversation can do.
pub struct Echo;

impl Vendor for Echo {
    fn http(&self, request: &Request) -> Reply {
        match (request.method.as_str(), request.path.as_str()) {
            ("POST", "/echo") => {
                let content_type = request.header("content-type").unwrap_or("application/octet-stream");
                Reply::whole(200, content_type, request.body.clone())
            }
            ("POST", "/events") => {
                let text = String::from_utf8_lossy(&request.body).into_owned();
                let words: Vec<_> = text.split_whitespace().map(|word| json!({"word": word}).to_string()).collect();
                let events = words.into_iter().chain(["[DONE]".to_owned()]).map(|data| (String::new(), data));
                Reply::events(GAP, GAP, events)
            }
            _ => {
                request.context.complain(format!("no such resource: {} {}", request.method, request.path));
                Reply::json(404, &json!({"error": "not found"}))
            }
        }
    }

    fn websocket(&self, request: &Request) -> Result<Box<dyn Conversation>, Reply> {
        if request.path != "/ws" {
            return Err(self.http(request));
        }
        Ok(Box::new(Echoing { context: request.context.clone(), begun: false, ticks: None, held: None }))
    }
}

struct Echoing {
    context: super::Context,
    begun: bool,
    /// Ticks since speech began.
    ticks: Option<u32>,
    /// A final that is to come behind the next.
    held: Option<Say>,
}

impl Echoing {
    fn results(&mut self, text: &str) -> Vec<Say> {
        let result = Say::json(&json!({"type": "final", "text": text}));
        if self.context.misbehaves(Misbehaviour::DuplicateFinals) {
            return vec![result.clone(), result];
        }
        match self.held.take() {
            Some(held) => vec![result, held],
            None if self.context.misbehaves(Misbehaviour::OutOfOrderFinals) => {
                self.held = Some(result);
                Vec::new()
            }
            None => vec![result],
        }
    }
}

impl Conversation for Echoing {
    fn heard(&mut self, message: Message) -> Vec<Say> {
        let json = message.json();
        let kind = json["type"].as_str();
        if !self.begun && kind != Some("begin") {
            self.context.complain("the first message was not `begin`");
        }
        self.begun = true;
        match (kind, message) {
            (Some("begin"), _) => vec![Say::json(&json!({"type": "begun"}))],
            (Some("speak"), _) => {
                self.ticks = Some(0);
                Vec::new()
            }
            (Some("cancel"), _) => {
                self.ticks = None;
                let late = self.context.misbehaves(Misbehaviour::LateAudioAfterCancel);
                let audio = late.then(|| Say::Binary(vec![0xFF; 160]).after(GAP));
                [Say::json(&json!({"type": "cancelled"}))].into_iter().chain(audio).collect()
            }
            (Some("later"), _) => vec![Say::json(&json!({"type": "late"})).after(4 * GAP)],
            (Some("never"), _) => {
                let late = Say::json(&json!({"type": "late"})).after(GAP);
                vec![late, Say::Forget, Say::json(&json!({"type": "forgotten"}))]
            }
            (Some("goodbye"), _) => vec![Say::Close(1000, "goodbye".into())],
            (Some("vanish"), _) => vec![Say::Drop],
            (_, Message::Text(text)) => self.results(&text),
            (_, Message::Binary(octets)) => vec![Say::Binary(octets)],
        }
    }

    fn elapsed(&mut self) -> Vec<Say> {
        let Some(ticks) = self.ticks.as_mut() else { return Vec::new() };
        *ticks += 1;
        if *ticks % 2 == 0 { vec![Say::Binary(vec![0xFF; 160])] } else { Vec::new() }
    }

    fn ticks(&self) -> bool {
        self.ticks.is_some()
    }

    fn closed(&mut self, code: Option<u16>) {
        if code.is_none() {
            self.context.complain("the client went without a close");
        }
    }
}
