//! Finding the tables of a deployed stack, against a small CloudFormation: the query protocol and
//! `DescribeStackResource` as in AWS's API reference
//! (docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_DescribeStackResource.html, "Common
//! errors" there, and "AWS Query protocol" of Smithy's specification).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_dynamodb::config::{Credentials, SharedCredentialsProvider};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use local::stack::Account;

const STACK_ID: &str =
    "arn:aws:cloudformation:eu-central-1:123456789012:stack/hindsight/aaf549a0-a413-11df-adb3-5081b3858e83";

/// The CloudFormation of one account.
#[derive(Clone, Debug, Default)]
struct CloudFormation {
    /// Resources by stack name or id, each with its physical name and status.
    stacks: BTreeMap<&'static str, Vec<(&'static str, &'static str, &'static str)>>,
    /// The response to every request, if set: a status, a code, a message.
    fault: Option<(u16, &'static str, &'static str)>,
    is_unreachable: bool,
    asked: Arc<Mutex<Vec<String>>>,
}

impl CloudFormation {
    fn answer(&self, form: &str) -> (u16, String) {
        let parameters: BTreeMap<&str, &str> =
            form.split('&').filter_map(|pair| pair.split_once('=')).collect();
        assert_eq!(parameters["Action"], "DescribeStackResource");
        assert_eq!(parameters["Version"], "2010-05-15");
        let refused = |code: &str, message: &str| {
            let body = format!(
                "<ErrorResponse xmlns=\"http://cloudformation.amazonaws.com/doc/2010-05-15/\">\n  <Error>\n    \
                 <Type>Sender</Type>\n    <Code>{code}</Code>\n    <Message>{message}</Message>\n  </Error>\n  \
                 <RequestId>b9b4b068-3a41-11e5-94eb-example</RequestId>\n</ErrorResponse>\n"
            );
            body
        };
        if let Some((status, code, message)) = self.fault {
            return (status, refused(code, message));
        }
        let (stack, resource) = (parameters["StackName"], parameters["LogicalResourceId"]);
        let Some(resources) = self.stacks.get(stack) else {
            let message = format!("Stack &apos;{stack}&apos; does not exist");
            return (400, refused("ValidationError", &message));
        };
        let Some((_, name, status)) = resources.iter().find(|(known, _, _)| *known == resource) else {
            let message = format!("Resource {resource} does not exist for stack {stack}");
            return (400, refused("ValidationError", &message));
        };
        let physical = match *name {
            "" => String::new(),
            name => format!("<PhysicalResourceId>{name}</PhysicalResourceId>"),
        };
        let body = format!(
            "<DescribeStackResourceResponse xmlns=\"http://cloudformation.amazonaws.com/doc/2010-05-15/\">\n  \
             <DescribeStackResourceResult>\n    <StackResourceDetail>\n      <StackId>{STACK_ID}</StackId>\n      \
             <StackName>{stack}</StackName>\n      <LogicalResourceId>{resource}</LogicalResourceId>\n      \
             {physical}\n      <ResourceType>AWS::DynamoDB::Table</ResourceType>\n      \
             <LastUpdatedTimestamp>2011-07-07T22:27:28Z</LastUpdatedTimestamp>\n      \
             <ResourceStatus>{status}</ResourceStatus>\n    </StackResourceDetail>\n  \
             </DescribeStackResourceResult>\n  <ResponseMetadata>\n    \
             <RequestId>b9b4b068-3a41-11e5-94eb-example</RequestId>\n  </ResponseMetadata>\n\
             </DescribeStackResourceResponse>\n"
        );
        (200, body)
    }

    fn config(&self) -> SdkConfig {
        SdkConfig::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new("eu-central-1"))
            .credentials_provider(SharedCredentialsProvider::new(Credentials::new(
                "AKIAEXAMPLE",
                "secret",
                None,
                None,
                "test",
            )))
            .http_client(self.clone())
            .build()
    }

    async fn table(&self, stack: &str, resource: &str) -> Result<String, String> {
        let account = Account::of(self.config()).await.unwrap();
        let found = account.resource(stack, resource).await;
        if let Err(line) = &found {
            assert!(
                !line.contains('\n') && !line.is_empty() && line.len() < 250,
                "{line}"
            );
            assert!(!line.contains("AKIAEXAMPLE"), "{line}");
        }
        found
    }
}

impl HttpClient for CloudFormation {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for CloudFormation {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        assert_eq!(request.method(), "POST");
        assert_eq!(
            request.uri(),
            "https://cloudformation.eu-central-1.amazonaws.com/"
        );
        assert_eq!(
            request.headers().get("content-type"),
            Some("application/x-www-form-urlencoded")
        );
        assert!(
            request
                .headers()
                .get("authorization")
                .unwrap()
                .contains("/cloudformation/aws4_request")
        );
        let form = String::from_utf8(request.body().bytes().unwrap().to_vec()).unwrap();
        self.asked.lock().unwrap().push(form.clone());
        let answer = self.answer(&form.replace("%3A", ":").replace("%2F", "/"));
        let is_unreachable = self.is_unreachable;
        HttpConnectorFuture::new(async move {
            if is_unreachable {
                return Err(ConnectorError::io("dns error: no such host".into()));
            }
            let (status, body) = answer;
            Ok(HttpResponse::new(status.try_into().unwrap(), SdkBody::from(body)))
        })
    }
}

fn deployed() -> CloudFormation {
    let tables = |status| {
        vec![
            ("FeedbackTable", "hindsight-FeedbackTable-1A2B3C4D5E6F", status),
            ("ApiKeysTable", "hindsight-ApiKeysTable-1A2B3C4D5E6F", status),
            ("StatsTable", "hindsight-StatsTable-1A2B3C4D5E6F", status),
        ]
    };
    CloudFormation {
        stacks: BTreeMap::from([
            ("hindsight", tables("UPDATE_COMPLETE")),
            (STACK_ID, tables("CREATE_COMPLETE")),
            ("other", vec![("Bucket", "other-bucket", "CREATE_COMPLETE")]),
            ("coming", vec![("FeedbackTable", "", "CREATE_IN_PROGRESS")]),
            ("going", tables("DELETE_IN_PROGRESS")),
            ("gone", tables("DELETE_SKIPPED")),
            ("long-gone", tables("DELETE_COMPLETE")),
        ]),
        ..CloudFormation::default()
    }
}

#[tokio::test]
async fn a_table_is_found_by_its_stack_resource() {
    let aws = deployed();
    for resource in ["FeedbackTable", "ApiKeysTable", "StatsTable"] {
        let expected = Ok(format!("hindsight-{resource}-1A2B3C4D5E6F"));
        assert_eq!(aws.table("hindsight", resource).await, expected);
        assert_eq!(aws.table(STACK_ID, resource).await, expected);
    }
    // One call each, and no list of all tables, which could include those of an earlier stack.
    assert_eq!(aws.asked.lock().unwrap().len(), 6);
}

#[tokio::test]
async fn a_stack_s_url_is_its_own_domain_or_else_api_gateway_s() {
    let mut aws = deployed();
    let resources = aws.stacks.get_mut("hindsight").unwrap();
    resources.push(("HttpApi", "a1b2c3d4e5", "CREATE_COMPLETE"));
    let account = Account::of(aws.config()).await.unwrap();
    assert_eq!(
        account.base_url("hindsight").await.as_deref(),
        Ok("https://a1b2c3d4e5.execute-api.eu-central-1.amazonaws.com")
    );
    let resources = aws.stacks.get_mut("hindsight").unwrap();
    resources.push(("Domain", "feedback.example.com", "CREATE_COMPLETE"));
    let account = Account::of(aws.config()).await.unwrap();
    assert_eq!(
        account.base_url("hindsight").await.as_deref(),
        Ok("https://feedback.example.com")
    );
    let line = account.base_url("other").await.unwrap_err();
    assert!(line.starts_with("stack other has no HttpApi"), "{line}");
}

#[tokio::test(start_paused = true)]
async fn an_error_is_one_line_that_says_what_to_do() {
    let aws = deployed();
    for (stack, says) in [
        (
            "hindsihgt",
            "no stack hindsihgt in eu-central-1 of this account: check the name",
        ),
        (
            "other",
            "stack other has no FeedbackTable: it is not a Hindsight stack",
        ),
        (
            "coming",
            "stack coming has no FeedbackTable yet: wait until it is deployed",
        ),
        (
            "going",
            "stack going is deleted or being deleted: give the names of its tables",
        ),
        (
            "gone",
            "stack gone is deleted or being deleted: give the names of its tables",
        ),
        (
            "long-gone",
            "stack long-gone is deleted or being deleted: give the names of its tables",
        ),
    ] {
        let line = aws.table(stack, "FeedbackTable").await.unwrap_err();
        assert!(line.starts_with(says), "{line}");
    }
    let denied = "User: arn:aws:iam::123456789012:user/eve is not authorized to perform: \
                  cloudformation:DescribeStackResource on resource: arn:aws:cloudformation:eu-central-1:123456789012:stack/hindsight/*";
    for (fault, says) in [
        (
            (403, "AccessDenied", denied),
            "no access to stack hindsight: these AWS credentials need cloudformation:DescribeStackResource",
        ),
        (
            (
                403,
                "ExpiredToken",
                "The security token included in the request is expired",
            ),
            "the AWS credentials are expired or invalid: log in again (aws sso login)",
        ),
        (
            (
                403,
                "InvalidClientTokenId",
                "The security token included in the request is invalid.",
            ),
            "the AWS credentials are expired or invalid",
        ),
        (
            (
                403,
                "SignatureDoesNotMatch",
                "The request signature we calculated does not match\nthe signature",
            ),
            "the AWS credentials are expired or invalid",
        ),
        (
            (400, "Throttling", "Rate\n  exceeded"),
            "cannot read stack hindsight: Throttling: Rate exceeded",
        ),
        (
            (
                400,
                "ValidationError",
                "1 validation error detected: Value at &apos;stackName&apos; failed to satisfy constraint",
            ),
            "cannot read stack hindsight: ValidationError: 1 validation error detected",
        ),
        (
            (503, "ServiceUnavailable", "no"),
            "cannot read stack hindsight: ServiceUnavailable: no",
        ),
    ] {
        let aws = CloudFormation {
            fault: Some(fault),
            ..deployed()
        };
        let line = aws.table("hindsight", "FeedbackTable").await.unwrap_err();
        assert!(line.starts_with(says), "{line}");
    }
    let aws = CloudFormation {
        is_unreachable: true,
        ..deployed()
    };
    let line = aws.table("hindsight", "FeedbackTable").await.unwrap_err();
    assert_eq!(
        line,
        "cannot reach CloudFormation in eu-central-1: dns error: no such host"
    );
}

#[tokio::test]
async fn without_a_region_or_credentials_no_request_is_sent() {
    let aws = deployed();
    let nowhere = aws.config().into_builder().region(None).build();
    let line = Account::of(nowhere).await.unwrap_err();
    assert_eq!(
        line,
        "no AWS region: set AWS_REGION, or the region of your AWS profile"
    );
    let nobody = SdkConfig::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new("eu-central-1"))
        .http_client(aws.clone())
        .build();
    let line = Account::of(nobody).await.unwrap_err();
    assert!(
        line.starts_with("no AWS credentials: log in (aws sso login), or set AWS_PROFILE"),
        "{line}"
    );
    assert!(aws.asked.lock().unwrap().is_empty());
}
