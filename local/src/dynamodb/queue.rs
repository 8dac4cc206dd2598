//! The queue of calls to the database, and the threads that make them.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use serde::Deserialize;
use tokio::sync::oneshot;

/// The answer to a call: a status and a JSON body.
pub(super) type Answer = (u16, String);

/// A connection to the database: takes an `x-amz-target` and a body, and blocks.
pub(super) type Connection = Box<dyn Fn(&str, &str) -> Answer + Send>;

/// The most items that a call in the brief lane reads. Nearly all calls made for a write read one.
const BRIEF_ITEMS: u32 = 20;

/// How many brief calls may overtake a long one that waits for the same connection.
const IN_A_ROW: usize = 16;

/// Two lanes of calls. The brief lane has calls that read or write a few items. The long lane has queries and
/// scans that read a page of up to 1 MB; one analytics request makes hundreds of them. Each lane has its own
/// thread and connection, because SQLite in WAL mode can read while it writes. With one connection, the
/// lanes take turns.
///
/// A call that is cancelled while it waits in the queue is not made. If calls waited for SQLite's lock in
/// threads instead, a cancelled call would still be made, and each of its retries too.
///
/// The threads are few and live as long as the queue because of glibc's malloc: it has an arena for each
/// thread and returns only the free end of an arena. With a thread pool, SQLite's cache would keep all arenas
/// open and memory use would keep growing.
pub(super) struct Queue {
    waiting: Arc<Waiting>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Waiting {
    calls: Mutex<Calls>,
    arrived: Condvar,
}

#[derive(Default)]
struct Calls {
    brief: VecDeque<Call>,
    long: VecDeque<Call>,
    /// How many brief calls have overtaken the first long one.
    in_a_row: usize,
    ended: bool,
}

struct Call {
    target: String,
    body: Vec<u8>,
    answer: oneshot::Sender<Answer>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lane {
    Brief,
    Long,
}

impl Lane {
    fn of(target: &str, body: &[u8]) -> Self {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Read {
            limit: Option<u32>,
            #[serde(default)]
            key_condition_expression: String,
        }
        let operation = target.rsplit('.').next().unwrap_or_default();
        if !matches!(operation, "Query" | "Scan") {
            return Self::Brief;
        }
        let is_brief = serde_json::from_slice::<Read>(body).is_ok_and(|read| {
            read.limit.is_some_and(|limit| limit <= BRIEF_ITEMS)
                // A full key: one item.
                || read.key_condition_expression.matches(" = ").count() == 2
        });
        if is_brief { Self::Brief } else { Self::Long }
    }
}

/// The lanes that a thread takes calls from.
#[derive(Clone, Copy, Debug)]
enum Duty {
    Brief,
    Long,
    Both,
}

impl Calls {
    fn next(&mut self, duty: Duty) -> Option<Call> {
        match duty {
            Duty::Brief => self.brief.pop_front(),
            Duty::Long => self.long.pop_front(),
            Duty::Both => {
                let is_owed = self.in_a_row >= IN_A_ROW || self.brief.is_empty();
                if is_owed && let Some(call) = self.long.pop_front() {
                    self.in_a_row = 0;
                    return Some(call);
                }
                self.in_a_row += usize::from(!self.long.is_empty());
                self.brief.pop_front()
            }
        }
    }
}

impl Waiting {
    fn calls(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a thread's next call. `None` when the queue has ended.
    fn next(&self, duty: Duty) -> Option<Call> {
        let mut calls = self.calls();
        loop {
            if calls.ended {
                return None;
            }
            if let Some(call) = calls.next(duty) {
                return Some(call);
            }
            calls = self.arrived.wait(calls).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn work(&self, duty: Duty, connection: &Connection) {
        while let Some(Call { target, body, answer }) = self.next(duty) {
            if answer.is_closed() {
                continue;
            }
            let work = || connection(&target, &String::from_utf8_lossy(&body));
            // After a panic the caller gets no answer, and the thread goes on.
            if let Ok(done) = catch_unwind(AssertUnwindSafe(work)) {
                // Fails if the call was cancelled meanwhile.
                let _ = answer.send(done);
            }
        }
    }
}

impl Queue {
    /// A queue for one connection, or for two of which the second only reads.
    pub(super) fn new(connection: Connection, reads: Option<Connection>) -> io::Result<Self> {
        let mut queue = Self {
            waiting: Arc::default(),
            threads: Vec::new(),
        };
        let duty = match reads {
            Some(_) => Duty::Brief,
            None => Duty::Both,
        };
        queue.spawn("database", duty, connection)?;
        if let Some(reads) = reads {
            queue.spawn("database reads", Duty::Long, reads)?;
        }
        Ok(queue)
    }

    fn spawn(&mut self, name: &str, duty: Duty, connection: Connection) -> io::Result<()> {
        let waiting = Arc::clone(&self.waiting);
        let thread = thread::Builder::new().name(name.to_owned());
        let thread = thread.spawn(move || waiting.work(duty, &connection))?;
        self.threads.push(thread);
        Ok(())
    }

    /// Makes a call when it is its turn. `None` if the database panicked.
    pub(super) async fn ask(&self, target: String, body: Vec<u8>) -> Option<Answer> {
        let (answer, answered) = oneshot::channel();
        let lane = Lane::of(&target, &body);
        let call = Call { target, body, answer };
        {
            let mut calls = self.waiting.calls();
            match lane {
                Lane::Brief => calls.brief.push_back(call),
                Lane::Long => calls.long.push_back(call),
            }
        }
        // Wakes all threads: a single one might serve the other lane.
        self.waiting.arrived.notify_all();
        answered.await.ok()
    }
}

impl Drop for Queue {
    /// Waits for the calls in progress and closes the threads' connections.
    fn drop(&mut self) {
        self.waiting.calls().ended = true;
        self.waiting.arrived.notify_all();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn call(name: &str) -> Call {
        Call {
            target: name.to_owned(),
            body: Vec::new(),
            answer: oneshot::channel().0,
        }
    }

    #[test]
    fn calls_that_read_a_few_items_are_brief() {
        for (operation, body, lane) in [
            ("PutItem", json!({}), Lane::Brief),
            ("GetRecords", json!({}), Lane::Brief),
            ("Query", json!({"Limit": 20}), Lane::Brief),
            ("Query", json!({"Limit": 21}), Lane::Long),
            ("Scan", json!({}), Lane::Long),
            ("Scan", json!({"Limit": 1}), Lane::Brief),
            (
                "Query",
                json!({"KeyConditionExpression": "time_key = :key AND id = :id"}),
                Lane::Brief,
            ),
            (
                "Query",
                json!({"KeyConditionExpression": "#hash = :hash AND #range BETWEEN :first AND :last"}),
                Lane::Long,
            ),
        ] {
            let target = format!("DynamoDB_20120810.{operation}");
            assert_eq!(Lane::of(&target, body.to_string().as_bytes()), lane, "{body}");
        }
        assert_eq!(Lane::of("Query", b"{"), Lane::Long);
    }

    #[test]
    fn lanes_take_turns_on_one_connection() {
        let mut calls = Calls::default();
        calls.long.extend([call("long 1"), call("long 2")]);
        calls.brief.extend((0..=IN_A_ROW).map(|_| call("brief")));
        let mut done: Vec<String> = Vec::new();
        while let Some(call) = calls.next(Duty::Both) {
            done.push(call.target);
        }
        let mut expected = vec!["brief"; IN_A_ROW];
        expected.extend(["long 1", "brief", "long 2"]);
        assert_eq!(done, expected);
    }

    #[test]
    fn a_thread_of_one_lane_leaves_the_other_alone() {
        let mut calls = Calls::default();
        calls.long.push_back(call("long"));
        calls.brief.push_back(call("brief"));
        assert_eq!(calls.next(Duty::Brief).unwrap().target, "brief");
        assert!(calls.next(Duty::Brief).is_none());
        assert_eq!(calls.next(Duty::Long).unwrap().target, "long");
        assert!(calls.next(Duty::Long).is_none());
    }
}
