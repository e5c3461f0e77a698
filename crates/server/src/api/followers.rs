//! Who follows events: how many event streams there may be, in all, with one key and from one
//! address.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::caller::Caller;
use super::options::ApiOptions;

/// The open event streams.
#[derive(Debug, Default)]
pub(crate) struct Followers {
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    all: usize,
    by_key: HashMap<Arc<str>, usize>,
    by_address: HashMap<IpAddr, usize>,
}

/// The place of an event stream, until it is dropped.
#[derive(Debug)]
pub(crate) struct Ticket {
    followers: Arc<Followers>,
    key: Option<Arc<str>>,
    address: Option<IpAddr>,
}

impl Followers {
    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for one more event stream.
    ///
    /// # Errors
    /// The limit that is reached, in words.
    pub(crate) fn join(
        self: &Arc<Self>,
        caller: &Caller,
        options: &ApiOptions,
    ) -> Result<Ticket, String> {
        let key = caller.key.clone();
        let address = caller.address.filter(|address| !address.is_loopback());
        let mut open = self.open();
        let full = |what: &str, limit: usize| {
            Err(format!(
                "{limit} event streams are open{what} and no more may be"
            ))
        };
        if open.all >= options.max_event_streams {
            return full("", options.max_event_streams);
        }
        let of_key = key.as_ref().and_then(|key| open.by_key.get(key));
        if of_key.is_some_and(|count| *count >= options.max_event_streams_per_key) {
            return full(" with this key", options.max_event_streams_per_key);
        }
        let of_address = address.and_then(|address| open.by_address.get(&address));
        if of_address.is_some_and(|count| *count >= options.max_event_streams_per_address) {
            return full(" from this address", options.max_event_streams_per_address);
        }
        open.all += 1;
        if let Some(key) = &key {
            *open.by_key.entry(Arc::clone(key)).or_default() += 1;
        }
        if let Some(address) = address {
            *open.by_address.entry(address).or_default() += 1;
        }
        Ok(Ticket {
            followers: Arc::clone(self),
            key,
            address,
        })
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut open = self.followers.open();
        open.all -= 1;
        if let Some(key) = &self.key {
            give_back(&mut open.by_key, key);
        }
        if let Some(address) = &self.address {
            give_back(&mut open.by_address, address);
        }
    }
}

fn give_back<K: Eq + Hash>(counts: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(all: usize, per_key: usize, per_address: usize) -> ApiOptions {
        ApiOptions {
            max_event_streams: all,
            max_event_streams_per_key: per_key,
            max_event_streams_per_address: per_address,
            ..ApiOptions::default()
        }
    }

    fn caller(key: Option<&str>, last: u8) -> Caller {
        Caller {
            key: key.map(Into::into),
            address: Some(IpAddr::from([10, 0, 0, last])),
        }
    }

    #[test]
    fn places_are_counted_for_each_key_and_address_and_given_back() {
        let followers = Arc::new(Followers::default());
        let options = options(4, 2, 3);
        let a = followers.join(&caller(Some("a"), 1), &options).unwrap();
        let _b = followers.join(&caller(Some("a"), 1), &options).unwrap();
        let said = followers.join(&caller(Some("a"), 2), &options).unwrap_err();
        assert!(said.contains("with this key"), "{said}");
        let _c = followers.join(&caller(Some("b"), 1), &options).unwrap();
        let said = followers.join(&caller(Some("b"), 1), &options).unwrap_err();
        assert!(said.contains("from this address"), "{said}");
        let _d = followers.join(&caller(None, 2), &options).unwrap();
        assert!(followers.join(&caller(None, 3), &options).is_err());
        drop(a);
        let e = followers.join(&caller(Some("a"), 1), &options).unwrap();
        drop((e, _b, _c, _d));
        let open = followers.open();
        assert_eq!(
            (open.all, open.by_key.len(), open.by_address.len()),
            (0, 0, 0)
        );
    }

    #[test]
    fn behind_a_proxy_on_this_machine_addresses_do_not_count() {
        let followers = Arc::new(Followers::default());
        let caller = Caller {
            key: None,
            address: Some(IpAddr::from([127, 0, 0, 1])),
        };
        let options = options(4, 1, 1);
        let all: Vec<_> = (0..3)
            .filter_map(|_| followers.join(&caller, &options).ok())
            .collect();
        assert_eq!(all.len(), 3);
    }
}
