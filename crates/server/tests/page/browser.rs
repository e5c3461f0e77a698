//! A browser that is driven by its DevTools.

use std::cell::RefCell;
use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rareclip_testkit::skipped;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tungstenite::{Message, WebSocket};

/// Long enough for a machine that builds something else meanwhile.
const PATIENCE: Duration = Duration::from_secs(30);

/// Keys that tests press: name, code and the text that it types.
const KEYS: [(&str, u32, &str); 5] = [
    ("Enter", 13, "\r"),
    ("End", 35, ""),
    ("Home", 36, ""),
    ("ArrowLeft", 37, ""),
    ("ArrowRight", 39, ""),
];

/// The browser: env `RARECLIP_CHROME`, else the first of its names on the `PATH`.
fn program() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("RARECLIP_CHROME") {
        return Some(named.into());
    }
    let names = [
        "chromium",
        "chromium-browser",
        "google-chrome",
        "google-chrome-stable",
        "chrome",
    ];
    let path = std::env::var_os("PATH")?;
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    names
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)))
        .find(|candidate| candidate.is_file())
}

/// The connection to the DevTools, and what they told besides answers: errors and warnings of the
/// console, scripts that failed, whatever the content security policy kept out.
struct Tools {
    socket: WebSocket<TcpStream>,
    session: Option<String>,
    last: u64,
    complaints: Vec<String>,
}

impl Tools {
    fn connect(address: &str) -> Self {
        let host = address.trim_start_matches("ws://").split('/').next();
        let stream = TcpStream::connect(host.unwrap()).expect("the DevTools answer");
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let (socket, _) = tungstenite::client(address, stream).expect("the DevTools talk");
        Self {
            socket,
            session: None,
            last: 0,
            complaints: Vec::new(),
        }
    }

    fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.last += 1;
        let mut request = json!({ "id": self.last, "method": method, "params": parameters });
        if let Some(session) = &self.session {
            request["sessionId"] = json!(session);
        }
        self.socket
            .send(Message::text(request.to_string()))
            .unwrap();
        loop {
            let message = self.socket.read();
            let message = message.unwrap_or_else(|e| panic!("{method}: no answer: {e}"));
            let Ok(text) = message.to_text() else {
                continue;
            };
            let mut answer: Value = serde_json::from_str(text).unwrap_or_default();
            if answer["id"] == self.last {
                assert!(answer["error"].is_null(), "{method}: {}", answer["error"]);
                return answer["result"].take();
            }
            self.complaints.extend(complaint(&answer));
        }
    }
}

fn complaint(event: &Value) -> Option<String> {
    let entry = &event["params"]["entry"];
    match event["method"].as_str()? {
        "Log.entryAdded" => {
            let matters = entry["level"] == "error" || entry["level"] == "warning";
            // That an answer was 401 or 404 is logged as an error though the page expects it.
            (matters && entry["source"] != "network").then(|| entry["text"].to_string())
        }
        "Runtime.exceptionThrown" => Some(event["params"]["exceptionDetails"].to_string()),
        _ => None,
    }
}

/// A page in a browser of its own.
pub struct Page {
    tools: RefCell<Tools>,
    browser: Child,
    _profile: tempfile::TempDir,
}

impl Page {
    /// Opens `address`; `None`, with a loud line, where no browser is found.
    pub fn open(test: &str, address: &str) -> Option<Self> {
        let Some(program) = program() else {
            skipped(test, "Chromium or Chrome (set RARECLIP_CHROME)");
            return None;
        };
        let profile = tempfile::tempdir().unwrap();
        let mut browser = Command::new(program)
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .args([
                "--headless=new",
                // The page is our own; containers of CI have no user namespaces for the sandbox.
                "--no-sandbox",
                "--remote-debugging-port=0",
                "--window-size=1280,900",
                "--no-first-run",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--disable-extensions",
                "--disable-background-networking",
                "--force-prefers-reduced-motion",
                "about:blank",
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the browser starts");
        let mut lines = BufReader::new(browser.stderr.take().unwrap()).lines();
        let devtools = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| Some(line.split_once("DevTools listening on ")?.1.to_owned()))
            .expect("the browser opens its DevTools");
        // A pipe that nobody reads would stop the browser once it is full.
        std::thread::spawn(move || lines.for_each(drop));
        let mut tools = Tools::connect(devtools.trim());
        let target = tools.call("Target.createTarget", json!({ "url": "about:blank" }));
        let attached = tools.call(
            "Target.attachToTarget",
            json!({ "targetId": target["targetId"], "flatten": true }),
        );
        tools.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log", "Accessibility"] {
            tools.call(&format!("{domain}.enable"), json!({}));
        }
        let page = Self {
            tools: RefCell::new(tools),
            browser,
            _profile: profile,
        };
        page.go(address);
        Some(page)
    }

    fn call(&self, method: &str, parameters: Value) -> Value {
        self.tools.borrow_mut().call(method, parameters)
    }

    /// Goes to an address and waits for its document; another view of the same page is loaded anew
    /// too.
    pub fn go(&self, address: &str) {
        self.call("Page.navigate", json!({ "url": "about:blank" }));
        self.until("location.href === 'about:blank'");
        self.call("Page.navigate", json!({ "url": address }));
        self.until(
            "document.readyState === 'complete' && document.querySelector('main')?.children.length",
        );
    }

    /// The value of an expression, which may await.
    pub fn eval<T: DeserializeOwned>(&self, expression: &str) -> T {
        let wrapped = format!("(async () => JSON.stringify((await ({expression})) ?? null))()");
        let result = self.call(
            "Runtime.evaluate",
            json!({ "expression": wrapped, "awaitPromise": true, "userGesture": true }),
        );
        let text = result["result"]["value"].as_str();
        let text = text.unwrap_or_else(|| panic!("{expression}: {result}"));
        serde_json::from_str(text).unwrap_or_else(|e| panic!("{expression} is {text}: {e}"))
    }

    /// Does what an expression does.
    pub fn act(&self, expression: &str) {
        self.eval::<Value>(&format!("void ({expression})"));
    }

    /// Waits until an expression is true.
    pub fn until(&self, expression: &str) {
        let begun = Instant::now();
        while !self.eval::<bool>(&format!("Boolean({expression})")) {
            assert!(
                begun.elapsed() < PATIENCE,
                "still not: {expression}\nthe page says: {}\ncomplaints: {:?}",
                self.text("body"),
                self.tools.borrow().complaints
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The text of the first element that a selector finds; empty without any.
    pub fn text(&self, selector: &str) -> String {
        self.eval(&format!(
            "document.querySelector({selector:?})?.textContent ?? ''"
        ))
    }

    /// An attribute of the first element that a selector finds.
    pub fn attribute(&self, selector: &str, name: &str) -> Option<String> {
        self.eval(&format!(
            "document.querySelector({selector:?})?.getAttribute({name:?})"
        ))
    }

    /// Presses the button with these words, in the dialog where one is open.
    pub fn press(&self, words: &str) {
        self.until(&format!(
            "(() => {{ const inside = document.querySelector('dialog[open]') ?? document; \
             const found = [...inside.querySelectorAll('button:not(:disabled, [aria-busy=true])')] \
             .find((node) => node.textContent.trim() === {words:?} && node.checkVisibility()); \
             found?.click(); return found; }})()"
        ));
    }

    /// Puts the focus on an element and presses keys.
    pub fn keys(&self, selector: &str, keys: &[&str]) {
        self.until(&format!("document.querySelector({selector:?})"));
        self.act(&format!(
            "document.querySelector({selector:?}).focus({{ focusVisible: true }})"
        ));
        for key in keys {
            let known = KEYS.iter().find(|(name, ..)| name == key);
            let (name, code, text) = known.expect("a key of the table");
            let mut press = json!({ "type": "keyDown", "key": name, "code": name, "windowsVirtualKeyCode": code, "text": text });
            self.call("Input.dispatchKeyEvent", press.clone());
            press["type"] = json!("keyUp");
            press["text"] = json!("");
            self.call("Input.dispatchKeyEvent", press);
        }
    }

    /// Types into an element.
    pub fn write(&self, selector: &str, text: &str) {
        self.keys(selector, &[]);
        self.call("Input.insertText", json!({ "text": text }));
    }

    /// Makes the window so wide.
    pub fn width(&self, width: u32) {
        let metrics =
            json!({ "width": width, "height": 1024, "deviceScaleFactor": 1, "mobile": false });
        self.call("Emulation.setDeviceMetricsOverride", metrics);
    }

    /// What there was to complain about.
    pub fn complaints(&self) -> Vec<String> {
        self.eval::<bool>("true");
        self.tools.borrow().complaints.clone()
    }

    /// Fails if there was anything to complain about.
    pub fn is_content(&self) {
        let complaints = self.complaints();
        assert!(complaints.is_empty(), "{complaints:#?}");
    }

    /// Roles and names of everything that assistive technology is told of.
    pub fn accessible(&self) -> Vec<(String, String)> {
        let tree = self.call("Accessibility.getFullAXTree", json!({}));
        let nodes = tree["nodes"].as_array().expect("a list of nodes");
        let nodes = nodes.iter().filter(|node| node["ignored"] != true);
        let text = |value: &Value| value["value"].as_str().unwrap_or_default().to_owned();
        nodes
            .map(|node| (text(&node["role"]), text(&node["name"])))
            .collect()
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        let tools = self.tools.get_mut();
        tools.session = None;
        let close = json!({ "id": 0, "method": "Browser.close" });
        let asked = tools.socket.send(Message::text(close.to_string())).is_ok();
        if asked {
            // It ends the processes that it started; killed, it would leave them behind.
            let begun = Instant::now();
            while begun.elapsed() < PATIENCE {
                if self.browser.try_wait().is_ok_and(|ended| ended.is_some()) {
                    return;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        let _ = self.browser.kill();
        let _ = self.browser.wait();
    }
}
