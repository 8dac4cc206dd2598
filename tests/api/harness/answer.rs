//! The response to a call.

use std::collections::BTreeMap;

use serde_json::Value;

/// The response to a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("not JSON: {}", self.text))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// Returns the response, which must be 200 with a JSON object.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.status, 200, "{}", self.text);
        assert_eq!(self.header("content-type"), Some("application/json"));
        assert!(self.json().is_object(), "{}", self.text);
        self
    }

    /// Returns the response, which must have this status and contain this message.
    #[track_caller]
    pub fn refused(self, status: u16, says: &str) -> Self {
        assert_eq!(self.status, status, "{}", self.text);
        let message = self.json()["message"].as_str().unwrap().to_owned();
        assert!(message.contains(says), "{message:?} does not say {says:?}");
        self
    }

    /// The only id in a write's response, in either dialect.
    #[track_caller]
    pub fn id(&self) -> String {
        let json = self.json();
        let id = json["feedback_ids"][0].as_str().or(json["data"]["id"].as_str());
        id.unwrap_or_else(|| panic!("no id in {}", self.text)).to_owned()
    }

    /// The ids in a list of either dialect, or in the response to a bulk request.
    #[track_caller]
    pub fn ids(&self) -> Vec<String> {
        let json = self.json();
        if let Some(ids) = json["feedback_ids"].as_array() {
            return ids.iter().map(|id| id.as_str().unwrap().to_owned()).collect();
        }
        let data = json["data"]
            .as_array()
            .unwrap_or_else(|| panic!("no list in {}", self.text));
        data.iter()
            .map(|record| record["id"].as_str().unwrap().to_owned())
            .collect()
    }
}
