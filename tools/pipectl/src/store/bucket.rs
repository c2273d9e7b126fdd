//! The bucket itself: is it there, and its creation. No request is repeated here.

use aws_sdk_s3::config::Builder;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::types::{BucketLocationConstraint, CreateBucketConfiguration};

use super::{NO_SUCH_BUCKET, Store, StoreError};

/// The one region of AWS whose buckets must not name it.
const REGION_WITHOUT_CONSTRAINT: &str = "us-east-1";
const AWS_DOMAINS: [&str; 2] = [".amazonaws.com", ".amazonaws.com.cn"];

/// What became of a request to create the bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created {
    /// It was created.
    Yes,
    /// It is there, and ours: somebody else was faster.
    Exists,
    /// Its name is taken.
    Taken,
}

impl Store {
    /// Whether the bucket is there. Asked by a LIST, as the audit does: unlike a HEAD, its answer
    /// says why it refuses.
    pub async fn has_bucket(&self) -> Result<bool, StoreError> {
        let request = self.client.list_objects_v2().bucket(&self.bucket).max_keys(1);
        match request.customize().config_override(once()).send().await {
            Ok(_) => Ok(true),
            Err(error) if error.code() == Some(NO_SUCH_BUCKET) => Ok(false),
            Err(error) => Err(self.failed("LIST", "", &error)),
        }
    }

    /// Creates the bucket in the region of the settings.
    pub async fn create_bucket(&self) -> Result<Created, StoreError> {
        let constrained = wants_constraint(self.endpoint_host.as_deref(), &self.region);
        match self.try_create(constrained).await? {
            Some(created) => Ok(created),
            // A store of another kind that wants its region named.
            None => self.try_create(true).await?.ok_or_else(|| {
                let detail =
                    format!("the store does not take region {}: set AWS_REGION", self.region);
                self.failure("CREATE", "", detail, false)
            }),
        }
    }

    /// `None` if the store is not content with the location constraint, or with the lack of one.
    async fn try_create(&self, constrained: bool) -> Result<Option<Created>, StoreError> {
        let configuration = constrained.then(|| {
            let region = BucketLocationConstraint::from(self.region.as_str());
            CreateBucketConfiguration::builder().location_constraint(region).build()
        });
        let request = self.client.create_bucket().bucket(&self.bucket);
        let request = request.set_create_bucket_configuration(configuration).customize();
        let Err(error) = request.config_override(once()).send().await else {
            return Ok(Some(Created::Yes));
        };
        match error.code() {
            Some("BucketAlreadyOwnedByYou") => Ok(Some(Created::Exists)),
            Some("BucketAlreadyExists") => Ok(Some(Created::Taken)),
            Some("IllegalLocationConstraintException" | "InvalidLocationConstraint") => Ok(None),
            _ => Err(self.failed("CREATE", "", &error)),
        }
    }
}

/// The caller repeats, until its deadline: the SDK's longer and longer pauses would outlive that.
fn once() -> Builder {
    Builder::new().retry_config(RetryConfig::disabled())
}

/// Whether a bucket of `region` must name it at the store with this host, which is AWS if `None`.
fn wants_constraint(host: Option<&str>, region: &str) -> bool {
    let is_aws = host.is_none_or(|host| AWS_DOMAINS.iter().any(|domain| host.ends_with(domain)));
    is_aws && region != REGION_WITHOUT_CONSTRAINT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_aws_wants_its_region_named_and_not_each() {
        let vpc = "bucket.vpce-1-2.s3.eu-west-1.vpce.amazonaws.com";
        let cases = [
            (None, "us-east-1", false),
            (None, "eu-west-1", true),
            (Some(vpc), "eu-west-1", true),
            (Some("s3.cn-north-1.amazonaws.com.cn"), "cn-north-1", true),
            (Some("versitygw"), "eu-west-1", false),
            (Some("amazonaws.com.example.org"), "eu-west-1", false),
        ];
        for (host, region, expected) in cases {
            assert_eq!(wants_constraint(host, region), expected, "{host:?} {region}");
        }
    }
}
