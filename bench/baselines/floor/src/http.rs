//! HTTP/1.1 over one connection that is kept: what the Runtime API and DynamoDB speak, no more.

use std::error::Error;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::{ClientConfig, ClientConnection, StreamOwned};

trait Stream: Read + Write {}

impl<S: Read + Write> Stream for S {}

pub struct Connection {
    stream: Box<dyn Stream>,
}

pub struct Response {
    pub status: u16,
    head: String,
    pub body: Vec<u8>,
}

impl Response {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (own, value) = line.split_once(':')?;
            own.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

impl Connection {
    /// Connects to `authority` (`host:port`), with TLS if there is a configuration for it.
    pub fn open(authority: &str, tls: Option<Arc<ClientConfig>>) -> Result<Self, Box<dyn Error>> {
        let tcp = TcpStream::connect(authority)?;
        tcp.set_nodelay(true)?;
        let stream: Box<dyn Stream> = match tls {
            None => Box::new(tcp),
            Some(tls) => {
                let (host, _) = authority.rsplit_once(':').ok_or("no port")?;
                let name = host.to_owned().try_into()?;
                Box::new(StreamOwned::new(ClientConnection::new(tls, name)?, tcp))
            }
        };
        Ok(Self { stream })
    }

    /// Sends a whole request and reads its response, whose body must have a length.
    pub fn send(&mut self, request: &str) -> Result<Response, Box<dyn Error>> {
        self.stream.write_all(request.as_bytes())?;
        self.stream.flush()?;
        let mut bytes = Vec::with_capacity(8 * 1024);
        let end = loop {
            if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                break end;
            }
            self.read(&mut bytes)?;
        };
        let body = bytes.split_off(end + 4);
        let head = String::from_utf8(bytes)?;
        let status = head.get(9..12).ok_or("no status")?.parse()?;
        let mut response = Response { status, head, body };
        let length: usize = match response.header("content-length") {
            Some(length) => length.parse()?,
            None if response.header("transfer-encoding").is_some() => return Err("a body in chunks".into()),
            None => 0,
        };
        while response.body.len() < length {
            self.read(&mut response.body)?;
        }
        Ok(response)
    }

    fn read(&mut self, bytes: &mut Vec<u8>) -> Result<(), Box<dyn Error>> {
        let mut part = [0; 8 * 1024];
        let length = self.stream.read(&mut part)?;
        if length == 0 {
            return Err("the connection was closed".into());
        }
        bytes.extend_from_slice(&part[..length]);
        Ok(())
    }
}
