//! Local sockets with a time by which a message must be through.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
#[cfg(unix)]
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant};

use crate::error::ProcessError;

/// How often a listener looks for a connection.
const POLL: Duration = Duration::from_millis(5);

/// Where a host is: `unix:/run/host.sock` or `tcp:127.0.0.1:7000`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Address {
    #[cfg(unix)]
    Unix(std::path::PathBuf),
    Tcp(SocketAddr),
}

impl Address {
    /// Reads an address; loopback alone, since nothing on the wire is encrypted.
    pub(crate) fn parse(text: &str) -> Result<Self, ProcessError> {
        let error = || ProcessError::Option {
            option: "address",
            found: format!("\"{text}\""),
            expected: if cfg!(unix) {
                "\"unix:PATH\" or \"tcp:ADDRESS:PORT\" with an address of this machine alone, such as 127.0.0.1"
            } else {
                "\"tcp:ADDRESS:PORT\" with an address of this machine alone, such as 127.0.0.1"
            },
        };
        #[cfg(unix)]
        if let Some(path) = text.strip_prefix("unix:").filter(|path| !path.is_empty()) {
            return Ok(Self::Unix(path.into()));
        }
        let address = text.strip_prefix("tcp:").ok_or_else(error)?;
        let address: SocketAddr = address.parse().map_err(|_| error())?;
        if address.ip().is_loopback() {
            return Ok(Self::Tcp(address));
        }
        Err(error())
    }
}

/// A connection to a host.
#[derive(Debug)]
pub(crate) enum Socket {
    #[cfg(unix)]
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Socket {
    pub(crate) fn connect(address: &Address, within: Duration) -> io::Result<Self> {
        match address {
            #[cfg(unix)]
            Address::Unix(path) => Ok(Self::Unix(UnixStream::connect(path)?)),
            Address::Tcp(address) => {
                let stream = TcpStream::connect_timeout(address, within)?;
                stream.set_nodelay(true)?;
                Ok(Self::Tcp(stream))
            }
        }
    }

    /// The connection until `deadline`.
    pub(crate) fn until(&self, deadline: Instant) -> Timed<'_> {
        Timed {
            socket: self,
            deadline,
        }
    }

    /// Ends the connection, whoever waits on it.
    pub(crate) fn shutdown(&self) {
        // It may have ended already.
        let _ = match self {
            #[cfg(unix)]
            Self::Unix(stream) => stream.shutdown(std::net::Shutdown::Both),
            Self::Tcp(stream) => stream.shutdown(std::net::Shutdown::Both),
        };
    }

    fn set_timeouts(&self, time: Duration) -> io::Result<()> {
        match self {
            #[cfg(unix)]
            Self::Unix(stream) => {
                stream.set_read_timeout(Some(time))?;
                stream.set_write_timeout(Some(time))
            }
            Self::Tcp(stream) => {
                stream.set_read_timeout(Some(time))?;
                stream.set_write_timeout(Some(time))
            }
        }
    }

    fn raw_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            #[cfg(unix)]
            Self::Unix(stream) => (&mut &*stream).read(buffer),
            Self::Tcp(stream) => (&mut &*stream).read(buffer),
        }
    }

    fn raw_write(&self, buffer: &[u8]) -> io::Result<usize> {
        match self {
            #[cfg(unix)]
            Self::Unix(stream) => (&mut &*stream).write(buffer),
            Self::Tcp(stream) => (&mut &*stream).write(buffer),
        }
    }
}

/// A connection with a time by which everything must be through, however slowly it trickles.
pub(crate) struct Timed<'a> {
    socket: &'a Socket,
    deadline: Instant,
}

impl Timed<'_> {
    fn arm(&self) -> io::Result<()> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.socket.set_timeouts(left)
    }
}

impl Read for Timed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.arm()?;
        self.socket.raw_read(buffer)
    }
}

impl Write for Timed<'_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.arm()?;
        self.socket.raw_write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Where a host that we start connects to.
pub(crate) struct Listener {
    inner: Inner,
    /// As it is handed to the host.
    pub(crate) address: String,
    /// Gone, with the socket in it, when the host has connected.
    _folder: Option<tempfile::TempDir>,
}

enum Inner {
    #[cfg(unix)]
    Unix(UnixListener),
    Tcp(TcpListener),
}

impl Listener {
    /// A socket that only this user can reach: in a folder of its own where the system has Unix
    /// sockets, else on loopback.
    pub(crate) fn new() -> io::Result<Self> {
        #[cfg(unix)]
        return Self::unix();
        #[cfg(not(unix))]
        return Self::tcp();
    }

    #[cfg(unix)]
    fn unix() -> io::Result<Self> {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::Builder::new()
            .prefix("rareclip-")
            .permissions(std::fs::Permissions::from_mode(0o700))
            .tempdir()?;
        let path = folder.path().join("host");
        let listener = UnixListener::bind(&path)?;
        listener.set_nonblocking(true)?;
        Ok(Self {
            inner: Inner::Unix(listener),
            address: format!("unix:{}", path.display()),
            _folder: Some(folder),
        })
    }

    #[cfg_attr(unix, allow(dead_code, reason = "only Windows uses it"))]
    pub(crate) fn tcp() -> io::Result<Self> {
        let listener = TcpListener::bind((IpAddr::V4(Ipv4Addr::LOCALHOST), 0))?;
        listener.set_nonblocking(true)?;
        Ok(Self {
            address: format!("tcp:{}", listener.local_addr()?),
            inner: Inner::Tcp(listener),
            _folder: None,
        })
    }

    /// The next connection; `None` when there is none by `deadline` or `alive` says that none will
    /// come.
    pub(crate) fn accept(
        &self,
        deadline: Instant,
        alive: &mut dyn FnMut() -> bool,
    ) -> io::Result<Option<Socket>> {
        loop {
            let accepted = match &self.inner {
                #[cfg(unix)]
                Inner::Unix(listener) => listener.accept().map(|(stream, _)| Socket::Unix(stream)),
                Inner::Tcp(listener) => listener.accept().map(|(stream, _)| Socket::Tcp(stream)),
            };
            match accepted {
                Ok(socket) => {
                    // Some systems hand the listener's mode down.
                    match &socket {
                        #[cfg(unix)]
                        Socket::Unix(stream) => stream.set_nonblocking(false)?,
                        Socket::Tcp(stream) => {
                            stream.set_nonblocking(false)?;
                            stream.set_nodelay(true)?;
                        }
                    }
                    return Ok(Some(socket));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            if Instant::now() >= deadline || !alive() {
                return Ok(None);
            }
            std::thread::sleep(POLL);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOMENT: Duration = Duration::from_millis(200);

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(10)
    }

    /// Both ends of a connection over `listener`.
    fn connected(listener: &Listener) -> (Socket, Socket) {
        let address = Address::parse(&listener.address).unwrap();
        let theirs = Socket::connect(&address, Duration::from_secs(10)).unwrap();
        let ours = listener.accept(soon(), &mut || true).unwrap().unwrap();
        (ours, theirs)
    }

    #[test]
    fn what_is_sent_arrives_over_unix_sockets_and_over_loopback() {
        for listener in [Listener::new().unwrap(), Listener::tcp().unwrap()] {
            let (ours, theirs) = connected(&listener);
            ours.until(soon()).write_all(b"hello").unwrap();
            let mut found = [0; 5];
            theirs.until(soon()).read_exact(&mut found).unwrap();
            assert_eq!(&found, b"hello");
            theirs.shutdown();
            assert_eq!(ours.until(soon()).read(&mut found).unwrap(), 0);
        }
    }

    #[test]
    fn reading_and_writing_end_at_the_deadline_even_if_the_other_side_trickles() {
        for listener in [Listener::new().unwrap(), Listener::tcp().unwrap()] {
            let (ours, theirs) = connected(&listener);
            let trickle = std::thread::spawn(move || {
                for _ in 0..20 {
                    if theirs.until(soon()).write_all(b"x").is_err() {
                        break;
                    }
                    std::thread::sleep(Duration::from_millis(50));
                }
                // Never reads.
                std::thread::sleep(MOMENT * 2);
            });
            let start = Instant::now();
            let error = ours
                .until(start + MOMENT)
                .read_exact(&mut [0; 100])
                .unwrap_err();
            let late = [io::ErrorKind::TimedOut, io::ErrorKind::WouldBlock];
            assert!(late.contains(&error.kind()), "{error}");
            let much = vec![0; 64 << 20];
            let error = ours
                .until(Instant::now() + MOMENT)
                .write_all(&much)
                .unwrap_err();
            assert!(late.contains(&error.kind()), "{error}");
            assert!(start.elapsed() < Duration::from_secs(5));
            drop(ours);
            trickle.join().unwrap();
        }
    }

    #[test]
    fn nobody_is_waited_for_past_the_deadline_or_past_the_end_of_the_process() {
        let listener = Listener::new().unwrap();
        let nobody = listener.accept(Instant::now() + MOMENT, &mut || true);
        assert!(nobody.unwrap().is_none());
        let start = Instant::now();
        assert!(listener.accept(soon(), &mut || false).unwrap().is_none());
        assert!(start.elapsed() < Duration::from_secs(5));
    }

    #[cfg(unix)]
    #[test]
    fn the_socket_is_in_a_folder_that_is_ours_alone_and_goes_with_the_listener() {
        use std::os::unix::fs::PermissionsExt;
        let listener = Listener::new().unwrap();
        let path = std::path::PathBuf::from(listener.address.strip_prefix("unix:").unwrap());
        let folder = path.parent().unwrap().to_owned();
        let mode = std::fs::metadata(&folder).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        drop(listener);
        assert!(!folder.exists());
    }
}
