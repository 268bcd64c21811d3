//! HTTP/1.1 of the server's side (RFC 9112), by octets, so that it can be spoilt.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    damage::Kind,
    misbehaviour::{Active, Misbehaviour},
    vendor::{Body, Context, Reply, Request, Vendor},
    websocket,
    wire::{Line, Turn, Wire},
};

/// The longest head of a request, in octets.
const LONGEST_HEAD: usize = 64 * 1024;

/// The longest body of a request, in octets.
const LONGEST_BODY: usize = 64 << 20;

/// Answers requests on one connection until it ends, or hands it over to a conversation.
pub async fn serve<L: Line>(mut wire: Wire<L>, vendor: Arc<dyn Vendor>, context: Context) {
    for served in 0.. {
        let request = match next_request(&mut wire, &context).await {
            Ok(Some(request)) => request,
            Ok(None) => return,
            Err(wrong) => {
                context.complain(&wrong);
                wire.push(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
                return wire.hang_up().await;
            }
        };
        context.state.requested(&request);
        let active = context.active();
        if active.has(Misbehaviour::Silence) && !request.is_upgrade() {
            return wire.deafen().await;
        }
        let mut keep = !request.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        let reply = if let Some((code, retry_after)) = active.status() {
            keep = false;
            let reply = Reply::json(code, &vendor.refusal(code));
            match retry_after {
                Some(seconds) => reply.with("retry-after", seconds.to_string()),
                None => reply,
            }
        } else if request.is_upgrade() {
            match vendor.websocket(&request) {
                Ok(conversation) => return websocket::converse(wire, conversation, &request).await,
                Err(reply) => reply,
            }
        } else {
            vendor.http(&request)
        };
        match send(&mut wire, reply, &context, keep, served).await {
            Sent::Whole if keep => context.state.reply(),
            Sent::Whole | Sent::Short => return wire.hang_up().await,
            Sent::Cut => return,
            Sent::Abandoned => return context.state.abandon(),
        }
    }
}

/// How a reply ended.
enum Sent {
    /// As it should.
    Whole,
    /// Well-formed and too early; the connection ends in peace.
    Short,
    /// In the middle; the connection is to be dropped.
    Cut,
    /// The client left.
    Abandoned,
}

async fn send<L: Line>(wire: &mut Wire<L>, reply: Reply, context: &Context, keep: bool, served: usize) -> Sent {
    let content_type = reply.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-type"));
    let kind = Kind::of(content_type.map_or("", |(_, value)| value.as_str()));
    let mut head = format!("HTTP/1.1 {} {}\r\n", reply.status, reason(reply.status));
    for (name, value) in &reply.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if !keep {
        head.push_str("connection: close\r\n");
    }
    let active = context.active();
    wire.drip = active.drip();
    match reply.body {
        Body::Whole(body) => {
            let mut body = spoil(kind, body, &active, served, true);
            let promised = body.len();
            let close = active.close().is_some();
            if close || active.has(Misbehaviour::HalfMessage) {
                body.truncate(promised / 2);
            }
            let length = if close { body.len() } else { promised };
            head.push_str(&format!("content-length: {length}\r\n\r\n"));
            wire.push(head.as_bytes());
            if active.has(Misbehaviour::StallAfterUpgrade) && !stalled(wire, context).await {
                return Sent::Abandoned;
            }
            wire.push(&body);
            match wire.drain().await {
                false => Sent::Abandoned,
                true if close => Sent::Short,
                true if active.has(Misbehaviour::HalfMessage) => Sent::Cut,
                true => Sent::Whole,
            }
        }
        Body::Stream(chunks) => {
            head.push_str("transfer-encoding: chunked\r\n\r\n");
            wire.push(head.as_bytes());
            stream(wire, chunks, kind, context, served).await
        }
    }
}

async fn stream<L: Line>(
    wire: &mut Wire<L>,
    chunks: Box<dyn Iterator<Item = (Duration, Vec<u8>)> + Send>,
    kind: Kind,
    context: &Context,
    served: usize,
) -> Sent {
    let mut due = tokio::time::Instant::now();
    for (n, (gap, chunk)) in chunks.enumerate() {
        due += gap;
        if !wire.drain().await || !wire.wait(due).await {
            return Sent::Abandoned;
        }
        let active = context.active();
        wire.drip = active.drip();
        if active.has(Misbehaviour::StallAfterUpgrade) && !stalled(wire, context).await {
            return Sent::Abandoned;
        }
        if active.has(Misbehaviour::Silence) {
            wire.deafen().await;
            return Sent::Abandoned;
        }
        let chunk = spoil(kind, chunk, &active, served + n, n == 0);
        if chunk.is_empty() {
            continue;
        }
        wire.push(format!("{:x}\r\n", chunk.len()).as_bytes());
        if active.has(Misbehaviour::HalfMessage) {
            wire.push(&chunk[..chunk.len() / 2]);
            return if wire.drain().await { Sent::Cut } else { Sent::Abandoned };
        }
        wire.push(&chunk);
        wire.push(b"\r\n");
        if active.close().is_some() {
            wire.push(b"0\r\n\r\n");
            return if wire.drain().await { Sent::Short } else { Sent::Abandoned };
        }
    }
    wire.push(b"0\r\n\r\n");
    if wire.drain().await { Sent::Whole } else { Sent::Abandoned }
}

/// Sends what waits, then does nothing while the stall lasts; false when the client left.
async fn stalled<L: Line>(wire: &mut Wire<L>, context: &Context) -> bool {
    if !wire.drain().await {
        return false;
    }
    while context.active().has(Misbehaviour::StallAfterUpgrade) {
        if !wire.stall().await {
            return false;
        }
    }
    true
}

/// Does to a body, or a chunk of one, what is to be done to it.
fn spoil(kind: Kind, mut body: Vec<u8>, active: &Active, n: usize, first: bool) -> Vec<u8> {
    if active.has(Misbehaviour::UnknownTypes) {
        body = kind.with_unknown(body);
    }
    if active.has(Misbehaviour::WrongJson) {
        body = kind.wrong_json(body, n);
    }
    match active.huge() {
        Some(size) if first => {
            let mut padded = kind.padding(size);
            padded.extend(body);
            padded
        }
        _ => body,
    }
}

/// The phrase of a status (RFC 9110 §15); any will do for those that are not here.
fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        204 => "No Content",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        _ => "Status",
    }
}

/// Waits for a whole request; `None` when the client leaves before.
async fn next_request<L: Line>(wire: &mut Wire<L>, context: &Context) -> Result<Option<Request>, String> {
    loop {
        if let Some(request) = take(&mut wire.inbox, context)? {
            return Ok(Some(request));
        }
        if wire.turn(None).await == Turn::Gone {
            return Ok(None);
        }
    }
}

/// Takes a request from the front of `inbox`; `None` when more octets are needed.
fn take(inbox: &mut Vec<u8>, context: &Context) -> Result<Option<Request>, String> {
    let Some(end) = inbox.windows(4).position(|four| four == b"\r\n\r\n") else {
        return if inbox.len() > LONGEST_HEAD { Err("a request with an endless head".into()) } else { Ok(None) };
    };
    let head = std::str::from_utf8(&inbox[..end]).map_err(|_| "a request's head that is not text")?;
    let mut lines = head.split("\r\n");
    let line = lines.next().unwrap_or_default();
    let [method, target, "HTTP/1.1"] = line.split(' ').collect::<Vec<_>>()[..] else {
        return Err(format!("a request line that is none of HTTP/1.1: {line:?}"));
    };
    let headers = lines
        .map(|line| match line.split_once(':') {
            Some((name, value)) => Ok((name.to_ascii_lowercase(), value.trim().to_owned())),
            None => Err(format!("a header without a colon: {line:?}")),
        })
        .collect::<Result<Vec<_>, _>>()?;
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut request = Request {
        method: method.into(),
        path: path.into(),
        query: pairs(query),
        headers,
        body: Vec::new(),
        arrived: Instant::now(),
        context: context.clone(),
    };
    if request.header("host").is_none() {
        return Err("a request without `host` (RFC 9112 §3.2)".into());
    }
    let rest = end + 4;
    let chunked = request.header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked"));
    let length = request.header("content-length").map(str::parse::<usize>);
    let used = match (chunked, length) {
        (true, Some(_)) => return Err("both `transfer-encoding` and `content-length` (RFC 9112 §6.3)".into()),
        (true, None) => match chunks(&inbox[rest..])? {
            Some((body, used)) => {
                request.body = body;
                used
            }
            None => return Ok(None),
        },
        (false, Some(Ok(length))) if length <= LONGEST_BODY => match inbox.get(rest..rest + length) {
            Some(body) => {
                request.body = body.to_vec();
                length
            }
            None => return Ok(None),
        },
        (false, Some(_)) => return Err("a `content-length` that is no length a fake takes".into()),
        (false, None) => 0,
    };
    inbox.drain(..rest + used);
    Ok(Some(request))
}

/// Puts a chunked body together (RFC 9112 §7.1), without trailers: the body and the octets it took.
fn chunks(octets: &[u8]) -> Result<Option<(Vec<u8>, usize)>, String> {
    let mut body = Vec::new();
    let mut at = 0;
    loop {
        let Some(end) = octets[at..].windows(2).position(|two| two == b"\r\n") else { return Ok(None) };
        let size = std::str::from_utf8(&octets[at..at + end]).unwrap_or_default();
        let size = usize::from_str_radix(size.split(';').next().unwrap_or_default().trim(), 16)
            .map_err(|_| "a chunk without a size (RFC 9112 §7.1)")?;
        if body.len().saturating_add(size) > LONGEST_BODY {
            return Err("a body longer than a fake takes".into());
        }
        at += end + 2;
        let Some(chunk) = octets.get(at..at + size + 2) else { return Ok(None) };
        at += size + 2;
        let Some(chunk) = chunk.strip_suffix(b"\r\n") else {
            return Err("a chunk longer than its size (RFC 9112 §7.1)".into());
        };
        if size == 0 {
            return Ok(Some((body, at)));
        }
        body.extend_from_slice(chunk);
    }
}

/// The pairs of a query, decoded.
fn pairs(query: &str) -> Vec<(String, String)> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).map(|(k, v)| (decoded(k), decoded(v))).collect()
}

/// Undoes percent-encoding and the plus signs of forms.
fn decoded(text: &str) -> String {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        let hex = |octet: &u8| char::from(*octet).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        match (first, tail) {
            (b'+', _) => octets.push(b' '),
            (b'%', [high, low, after @ ..]) => match (hex(high), hex(low)) {
                (Some(high), Some(low)) => {
                    octets.push(high << 4 | low);
                    rest = after;
                }
                _ => octets.push(b'%'),
            },
            _ => octets.push(*first),
        }
    }
    String::from_utf8_lossy(&octets).into_owned()
}
