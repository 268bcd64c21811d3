//! A name server on loopback that says what a test wants, and counts what it is asked.
#![allow(dead_code, reason = "each test binary uses its own part")]

use hickory_resolver::proto::op::{Message, OpCode, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, AAAA, CNAME, NAPTR, SRV};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};

/// What the server does with a question.
#[derive(Clone)]
pub enum Reply {
    Records(Vec<RData>),
    Fail(ResponseCode),
    Silence,
}

#[derive(Default)]
pub struct Zone {
    replies: HashMap<(String, RecordType), Reply>,
    pub asked: Vec<(String, RecordType)>,
}

#[derive(Clone)]
pub struct NameServer {
    pub address: SocketAddr,
    pub zone: Arc<Mutex<Zone>>,
}

const TTL: u32 = 0;
/// Longer answers are truncated, so that the resolver has to ask by TCP.
const DATAGRAM_BYTES: usize = 1_200;

impl NameServer {
    pub async fn start() -> Self {
        let (udp, tcp) = loop {
            let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()).await {
                break (udp, tcp);
            }
        };
        let server = Self { address: udp.local_addr().unwrap(), zone: Arc::default() };
        let by_udp = server.clone();
        tokio::spawn(async move {
            let mut buffer = vec![0; 4_096];
            while let Ok((length, from)) = udp.recv_from(&mut buffer).await {
                if let Some(answer) = by_udp.answer(&buffer[..length], DATAGRAM_BYTES) {
                    udp.send_to(&answer, from).await.unwrap();
                }
            }
        });
        let by_tcp = server.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = tcp.accept().await {
                let server = by_tcp.clone();
                tokio::spawn(async move {
                    while let Ok(length) = stream.read_u16().await {
                        let mut question = vec![0; usize::from(length)];
                        stream.read_exact(&mut question).await.unwrap();
                        if let Some(answer) = server.answer(&question, usize::from(u16::MAX)) {
                            stream.write_u16(answer.len() as u16).await.unwrap();
                            stream.write_all(&answer).await.unwrap();
                        }
                    }
                });
            }
        });
        server
    }

    pub fn says(&self, name: &str, kind: RecordType, reply: Reply) -> &Self {
        self.zone.lock().unwrap().replies.insert((format!("{name}."), kind), reply);
        self
    }

    pub fn address_of(&self, name: &str, addresses: &[&str]) -> &Self {
        let (v4, v6): (Vec<IpAddr>, Vec<IpAddr>) =
            addresses.iter().map(|a| a.parse::<IpAddr>().unwrap()).partition(IpAddr::is_ipv4);
        for (kind, addresses) in [(RecordType::A, v4), (RecordType::AAAA, v6)] {
            let records: Vec<RData> = addresses.into_iter().map(address).collect();
            if !records.is_empty() {
                self.says(name, kind, Reply::Records(records));
            }
        }
        self
    }

    /// SRV records of priority, weight, port, target.
    pub fn srv(&self, name: &str, records: &[(u16, u16, u16, &str)]) -> &Self {
        let records = records.iter().map(|(priority, weight, port, target)| {
            RData::SRV(SRV::new(*priority, *weight, *port, Name::from_str(&format!("{target}.")).unwrap()))
        });
        self.says(name, RecordType::SRV, Reply::Records(records.collect()))
    }

    /// NAPTR records of order, preference, service, replacement.
    pub fn naptr(&self, name: &str, records: &[(u16, u16, &str, &str)]) -> &Self {
        let records = records.iter().map(|(order, preference, service, replacement)| {
            let replacement = Name::from_str(&format!("{replacement}.")).unwrap();
            let (flags, service) = (b"s".to_vec().into_boxed_slice(), service.as_bytes().to_vec().into_boxed_slice());
            RData::NAPTR(NAPTR::new(*order, *preference, flags, service, Box::default(), replacement))
        });
        self.says(name, RecordType::NAPTR, Reply::Records(records.collect()))
    }

    pub fn alias(&self, name: &str, kind: RecordType, target: &str) -> &Self {
        let target = Name::from_str(&format!("{target}.")).unwrap();
        self.says(name, kind, Reply::Records(vec![RData::CNAME(CNAME(target))]))
    }

    /// How often this was asked.
    pub fn asked(&self, name: &str, kind: RecordType) -> usize {
        let wanted = (format!("{name}."), kind);
        self.zone.lock().unwrap().asked.iter().filter(|asked| **asked == wanted).count()
    }

    fn answer(&self, question: &[u8], most: usize) -> Option<Vec<u8>> {
        let question = Message::from_vec(question).unwrap();
        let query = question.queries[0].clone();
        let key = (query.name().to_string().to_lowercase(), query.query_type());
        let mut zone = self.zone.lock().unwrap();
        zone.asked.push(key.clone());
        let mut answer = Message::response(question.metadata.id, OpCode::Query);
        answer.metadata.recursion_desired = true;
        answer.metadata.recursion_available = true;
        answer.add_query(query.clone());
        match zone.replies.get(&key) {
            Some(Reply::Silence) => return None,
            Some(Reply::Fail(code)) => answer.metadata.response_code = *code,
            Some(Reply::Records(records)) => {
                answer.add_answers(records.iter().map(|r| Record::from_rdata(query.name().clone(), TTL, r.clone())));
            }
            // A name that has other records exists.
            None if zone.replies.keys().any(|(name, _)| *name == key.0) => {}
            None => answer.metadata.response_code = ResponseCode::NXDomain,
        }
        let bytes = answer.to_vec().unwrap();
        if bytes.len() <= most {
            return Some(bytes);
        }
        answer.answers.clear();
        answer.metadata.truncation = true;
        Some(answer.to_vec().unwrap())
    }
}

pub fn address(address: IpAddr) -> RData {
    match address {
        IpAddr::V4(ip) => RData::A(A(ip)),
        IpAddr::V6(ip) => RData::AAAA(AAAA(ip)),
    }
}
