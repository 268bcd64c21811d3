//! Runs admitted HTTP tool calls: retries where repeating is safe, a circuit breaker per tool.

use super::egress::{Egress, EgressAnswer, EgressError, EgressRequest};
use super::gate::Admitted;
use super::limits::{BREAKER, CONCURRENT_PER_TOOL, RETRY_CEILING, RETRY_FIRST};
use super::set::HttpTool;
use crate::agent::ToolFailure;
use crate::base::{Random, backoff::Backoff, breaker::Breaker};
use bytes::Bytes;
use reqwest::StatusCode;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use serde_json::Value;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// Draft "The Idempotency-Key HTTP Header Field" of the IETF HTTPAPI group.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Runs the tools of all calls and agents. One per process; share it with an [`Arc`].
pub struct HttpTools {
    egress: Arc<Egress>,
    lanes: Mutex<HashMap<String, Arc<Lane>>>,
    random: Mutex<Random>,
}

/// What all calls of one tool share.
#[derive(Debug)]
struct Lane {
    breaker: Mutex<Breaker>,
    places: Semaphore,
}

/// What came of a tool call.
#[derive(Clone, Debug)]
pub struct ToolOutcome {
    /// For `Input::ToolFinished`: the JSON answer (null when empty), or why there is none. Failure kinds:
    /// `timeout`, `refused` (no connection), `broken` (the connection broke off), `status_NNN` (with its
    /// JSON body), `not_json`, `too_large`, `busy`, `circuit_open`, `not_allowed`.
    pub result: Result<Value, ToolFailure>,
    /// Time taken, waits between attempts included. Report it with `Gate::settle`.
    pub took: Duration,
    /// Requests sent, 0 when none was.
    pub attempts: u32,
}

impl std::fmt::Debug for HttpTools {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpTools").field("egress", &self.egress).finish_non_exhaustive()
    }
}

impl HttpTools {
    /// Tools that go out through `egress`.
    #[must_use]
    pub fn new(egress: Arc<Egress>, random: Random) -> Self {
        Self { egress, lanes: Mutex::default(), random: Mutex::new(random) }
    }

    /// The guard the tools go out through; [`super::ToolSet::new`] wants its policy.
    #[must_use]
    pub fn egress(&self) -> &Egress {
        &self.egress
    }

    /// Runs one admitted call to its end and writes its audit line: ids, counts and times, no values.
    /// Dropping the future (the caller hung up) ends the request; a POST may have taken effect.
    pub async fn run(&self, admitted: Admitted) -> ToolOutcome {
        let started = Instant::now();
        let mut attempts = 0;
        let result = self.attempt_until_done(&admitted, started, &mut attempts).await;
        let took = started.elapsed();
        tracing::info!(
            target: "offhook::audit",
            call = %admitted.call,
            tool = admitted.tool.id(),
            outcome = result.as_ref().err().map_or("ok", |failure| failure.kind.as_str()),
            attempts,
            took_ms = took.as_millis() as u64,
            "tool_call"
        );
        ToolOutcome { result, took, attempts }
    }

    async fn attempt_until_done(
        &self,
        admitted: &Admitted,
        started: Instant,
        attempts: &mut u32,
    ) -> Result<Value, ToolFailure> {
        let tool = &admitted.tool;
        let arguments = admitted.arguments.expose();
        let url = tool
            .filled_url(self.egress.policy(), arguments)
            .map_err(|refusal| ToolFailure::new("not_allowed", refusal.to_string()))?;
        let body = tool.body(arguments).map(Bytes::from);
        let headers = request_headers(admitted, body.is_some());
        let lane = self.lane(tool);
        let _place = lane
            .places
            .try_acquire()
            .map_err(|_| ToolFailure::new("busy", format!("{CONCURRENT_PER_TOOL} calls of the tool are under way")))?;
        let mut backoff = Backoff::new(RETRY_FIRST, RETRY_CEILING);
        loop {
            let left = admitted.time.saturating_sub(started.elapsed());
            let probe = Probe::admit(&lane).map_err(|retry_in| {
                let detail = format!("the tool failed repeatedly; next try in {} ms", retry_in.as_millis());
                ToolFailure::new("circuit_open", detail)
            })?;
            *attempts += 1;
            let request = EgressRequest {
                method: tool.method.clone(),
                url: url.clone(),
                headers: headers.clone(),
                body: body.clone(),
                timeout: left,
            };
            let reply = self.egress.send(request).await;
            let verdict = Verdict::of(&reply);
            let opened = probe.report(verdict, &mut locked(&self.random));
            if opened {
                tracing::warn!(tool = tool.id(), "tool_circuit_opened");
            }
            let wait = retry_wait(tool, &reply, *attempts)
                .map(|asked| asked.unwrap_or_else(|| backoff.next_wait(&mut locked(&self.random))));
            let left = admitted.time.saturating_sub(started.elapsed());
            match wait {
                Some(wait) if wait < left && !opened => tokio::time::sleep(wait).await,
                _ => return finished(reply),
            }
        }
    }

    fn lane(&self, tool: &HttpTool) -> Arc<Lane> {
        // Agents may declare the same id for different services: the origin tells them apart.
        let key = format!("{} {}", tool.id(), tool.origin());
        Arc::clone(locked(&self.lanes).entry(key).or_insert_with(|| {
            Arc::new(Lane { breaker: Mutex::new(Breaker::new(BREAKER)), places: Semaphore::new(CONCURRENT_PER_TOOL) })
        }))
    }
}

/// What one reply says about the server's health.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verdict {
    Well,
    Broken,
    Nothing,
}

impl Verdict {
    fn of(reply: &Result<EgressAnswer, EgressError>) -> Self {
        match reply {
            Ok(answer) if answer.status.is_server_error() => Self::Broken,
            Ok(answer) if answer.status == StatusCode::TOO_MANY_REQUESTS => Self::Nothing,
            Ok(_) | Err(EgressError::TooLarge { .. }) => Self::Well,
            Err(EgressError::Busy | EgressError::Refused(_)) => Self::Nothing,
            Err(_) => Self::Broken,
        }
    }
}

/// Leave to send one request; reports to the breaker once, also when it is dropped half way.
struct Probe<'a> {
    lane: &'a Lane,
    reported: bool,
}

impl<'a> Probe<'a> {
    fn admit(lane: &'a Lane) -> Result<Self, Duration> {
        locked(&lane.breaker).admit(Instant::now()).map_err(|open| open.retry_in)?;
        Ok(Self { lane, reported: false })
    }

    /// Returns true when the report opened the circuit.
    fn report(mut self, verdict: Verdict, random: &mut Random) -> bool {
        self.reported = true;
        let mut breaker = locked(&self.lane.breaker);
        match verdict {
            Verdict::Well => breaker.succeeded(),
            Verdict::Broken => return breaker.failed(Instant::now(), random),
            Verdict::Nothing => breaker.abandoned(Instant::now()),
        }
        false
    }
}

impl Drop for Probe<'_> {
    fn drop(&mut self) {
        if !self.reported {
            locked(&self.lane.breaker).abandoned(Instant::now());
        }
    }
}

/// A lock whose holder panicked still guards plain counters: go on with them.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn request_headers(admitted: &Admitted, has_body: bool) -> HeaderMap {
    let mut headers = admitted.tool.headers.clone();
    headers.entry(ACCEPT).or_insert(HeaderValue::from_static("application/json"));
    if has_body {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    // The gate admitted printable ASCII only, so the value is always good.
    if let Ok(key) = HeaderValue::from_str(&admitted.idempotency_key) {
        headers.insert(IDEMPOTENCY_KEY, key);
    }
    headers
}

/// Whether to try again: `Some(Some(wait))` after what the server asked for, `Some(None)` after our own
/// back-off, `None` not at all.
///
/// A request that was never sent may always be repeated. One that may have taken effect is repeated
/// because it is idempotent by method, or because its `Idempotency-Key` makes it so: whoever declares
/// `retries` on a POST says that the service honours the key.
fn retry_wait(tool: &HttpTool, reply: &Result<EgressAnswer, EgressError>, attempts: u32) -> Option<Option<Duration>> {
    if attempts > tool.retries {
        return None;
    }
    match reply {
        Err(EgressError::Connect(_) | EgressError::Busy | EgressError::Broken(_) | EgressError::Timeout(_)) => {
            Some(None)
        }
        Err(_) => None,
        Ok(answer) => match answer.status {
            StatusCode::BAD_GATEWAY
            | StatusCode::GATEWAY_TIMEOUT
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::TOO_MANY_REQUESTS => match retry_after(&answer.headers) {
                Some(asked) if asked > RETRY_CEILING => None,
                asked => Some(asked),
            },
            _ => None,
        },
    }
}

/// `Retry-After` in seconds (RFC 9110 section 10.2.3). Its date form is for planned outages, far beyond
/// what a caller waits, so it counts as "much later".
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().unwrap_or_default();
    Some(text.trim().parse().map_or(Duration::MAX, Duration::from_secs))
}

fn finished(reply: Result<EgressAnswer, EgressError>) -> Result<Value, ToolFailure> {
    let answer = reply.map_err(|error| {
        let kind = match error {
            EgressError::Busy => "busy",
            EgressError::Connect(_) => "refused",
            EgressError::Broken(_) => "broken",
            EgressError::Refused(_) => "not_allowed",
            EgressError::Timeout(_) => "timeout",
            EgressError::TooLarge { .. } => "too_large",
        };
        ToolFailure::new(kind, error.to_string())
    })?;
    let json: Result<Value, _> = match answer.body.trim_ascii() {
        [] => Ok(Value::Null),
        body => serde_json::from_slice(body),
    };
    if answer.status.is_success() {
        return json
            .map_err(|_| ToolFailure::new("not_json", format!("{} with a body that is no JSON", answer.status)));
    }
    let failure = ToolFailure::new(format!("status_{}", answer.status.as_u16()), answer.status.to_string());
    Err(match json {
        Ok(Value::Null) | Err(_) => failure,
        Ok(body) => failure.with_body(body),
    })
}

#[cfg(test)]
mod tests {
    use super::super::policy::EgressPolicy;
    use super::super::set::{ToolSet, tests::booking_tool};
    use super::*;

    fn reply(status: u16, retry_after: Option<&str>, body: &'static str) -> Result<EgressAnswer, EgressError> {
        let mut headers = HeaderMap::new();
        if let Some(text) = retry_after {
            headers.insert(RETRY_AFTER, text.parse().unwrap());
        }
        Ok(EgressAnswer { status: StatusCode::from_u16(status).unwrap(), headers, body: Bytes::from(body) })
    }

    #[test]
    fn only_failures_that_another_try_can_mend_are_tried_again() {
        let set = ToolSet::new(&[booking_tool()], &EgressPolicy::default(), &|_| Some("x".into())).unwrap();
        let tool = set.tool("book").unwrap();
        let wait = |reply| retry_wait(tool, &reply, 1);
        assert_eq!(wait(Err(EgressError::Connect("refused".into()))), Some(None));
        assert_eq!(wait(Err(EgressError::Timeout(Duration::from_secs(1)))), Some(None));
        assert_eq!(wait(Err(EgressError::TooLarge { what: "x", limit: 1 })), None);
        assert_eq!(wait(reply(503, None, "")), Some(None));
        assert_eq!(wait(reply(503, Some("1"), "")), Some(Some(Duration::from_secs(1))));
        assert_eq!(wait(reply(429, Some("60"), "")), None, "longer than a caller waits");
        assert_eq!(wait(reply(503, Some("Fri, 31 Dec 2027 23:59:59 GMT"), "")), None);
        for status in [200, 301, 400, 401, 404, 409, 422, 500, 501] {
            assert_eq!(wait(reply(status, None, "")), None, "{status}");
        }
        assert_eq!(retry_wait(tool, &reply(503, None, ""), 3), None, "two retries were declared");
    }

    #[test]
    fn a_refusal_with_a_json_body_keeps_it_for_the_flow() {
        let failure = finished(reply(409, None, r#"{"alternatives":["15:30"]}"#)).unwrap_err();
        assert_eq!(failure.kind, "status_409");
        assert_eq!(failure.body.unwrap()["alternatives"][0], "15:30");
        assert_eq!(finished(reply(500, None, "<html>")).unwrap_err().body, None);
        assert_eq!(finished(reply(302, None, "")).unwrap_err().kind, "status_302");
    }

    #[test]
    fn success_is_json_or_nothing() {
        assert_eq!(finished(reply(200, None, " {\"id\":1} ")).unwrap()["id"], 1);
        assert_eq!(finished(reply(204, None, "")).unwrap(), Value::Null);
        assert_eq!(finished(reply(200, None, "<html>")).unwrap_err().kind, "not_json");
    }
}
