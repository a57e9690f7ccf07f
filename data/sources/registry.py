"""The public corpora that this project knows: name, home page, licence, files. Leaves out how the files are read."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Source:
    """A public corpus; its mentions have ids ``NAME:ID``."""

    name: str
    title: str
    home: str
    licence: str
    """As its publisher states it; none of these texts may be passed on with this project."""
    corpus: str
    """Name of its normalised Parquet file, without the extension."""
    published: str | None = None
    """Name of the file that its publisher offers, where we read that one too."""
    native_ids: bool = True
    """Whether ids are the corpus's own; otherwise they are row numbers, which another edition may shift."""
    commercial_use: bool = False
    """Whether its licence clearly allows commercial use; not where none is stated or two contradict each other."""


_NONE_STATED = "none stated"

SOURCES: dict[str, Source] = {
    source.name: source
    for source in (
        Source(
            "airline",
            "Twitter US Airline Sentiment (CrowdFlower)",
            "https://www.kaggle.com/datasets/crowdflower/twitter-airline-sentiment",
            "CC BY-NC-SA 4.0",
            "airline_us",
            "Tweets.csv",
        ),
        Source(
            "preotiuc",
            "Complaints in social media (Preoţiuc-Pietro et al. 2019)",
            "https://github.com/danielpreotiuc/complaints-social-media",
            _NONE_STATED,
            "preotiuc_complaints",
            "complaints-data.csv",
        ),
        Source(
            "sxsw",
            "Brands and product emotions at SXSW (CrowdFlower)",
            "https://data.world/crowdflower/brands-and-product-emotions",
            _NONE_STATED,
            "crowdflower_sxsw_brand_emotion",
            "judge-1377884607_tweet_product_company.csv",
            native_ids=False,
        ),
        Source(
            "xfin",
            "X-FINCORP financial complaints",
            "https://github.com/appy1608/Financial-Complaint-Identification",
            "MIT",
            "xfincorp",
            "X-FINCORP.xlsx",
            native_ids=False,
            commercial_use=True,
        ),
        Source(
            "swisscom",
            "Swisscom churn intent in chat",
            "https://github.com/swisscom/churn-intent-DE",
            "CC BY-SA 3.0 (README) or CC BY-NC 3.0 (LICENSE.txt)",
            "swisscom_churn_chat",
            "EN_chatbot.csv",
            native_ids=False,
        ),
        Source(
            "twcs",
            "Customer Support on Twitter",
            "https://www.kaggle.com/datasets/thoughtvector/customer-support-on-twitter",
            "CC BY-NC-SA 4.0",
            "twcs_head_inbound",
            "twcs.csv",
        ),
        Source(
            "uva",
            "Airline and telecom complaints (University of Virginia)",
            "https://github.com/RigautAntoine/twitter-customer-service",
            _NONE_STATED,
            "uva_airline_telecom_complaints",
        ),
        Source(
            "sanders",
            "Sanders Twitter sentiment corpus",
            "https://github.com/zfz/twitter_corpus",
            "none stated; its authors say that Twitter's terms forbid passing it on",
            "sanders",
        ),
        Source(
            "appledfe",
            "Apple Twitter sentiment (CrowdFlower)",
            "https://data.world/crowdflower/apple-twitter-sentiment",
            _NONE_STATED,
            "apple_crowdflower",
        ),
        Source(
            "semeval",
            "SemEval-2017 task 4, brand topics",
            "https://github.com/cbaziotis/datastories-semeval2017-task4",
            _NONE_STATED,
            "semeval_brand_topics",
        ),
        Source(
            "s140",
            "Sentiment140, manual test set",
            "http://help.sentiment140.com/for-students",
            _NONE_STATED,
            "sentiment140_manual_test",
        ),
        Source(
            "entity",
            "Twitter entity sentiment, validation set",
            "https://www.kaggle.com/datasets/jp797498e/twitter-entity-sentiment-analysis",
            _NONE_STATED,
            "entity_sentiment_val",
        ),
        Source(
            "iphonex",
            "Purchase intention for the iPhone X",
            "https://github.com/hasanimran96/Predicting-Consumer-Purchase-intention-using-Twitter-Data",
            "MIT",
            "iphonex_purchase_intent",
            native_ids=False,
            commercial_use=True,
        ),
        Source(
            "adidas",
            "Purchase intention for Adidas",
            "https://github.com/fco-parga/EIT---Adidas",
            _NONE_STATED,
            "adidas_purchase_intent",
            native_ids=False,
        ),
        Source(
            "banking77",
            "Banking77 questions to a bank",
            "https://github.com/PolyAI-LDN/task-specific-datasets",
            "CC BY 4.0",
            "banking77",
            native_ids=False,
            commercial_use=True,
        ),
        Source(
            "ibm",
            "IBM customer care conversations",
            "https://github.com/IBM/twitter-customer-care-document-prediction",
            "Apache-2.0",
            "ibm_customer_care",
            commercial_use=True,
        ),
        Source(
            "twacs",
            "Airline conversations of dialog intent induction (ASAPP)",
            "https://github.com/asappresearch/dialog-intent-induction",
            "CC BY-NC-SA 4.0",
            "twacs_airline_unlabelled",
            native_ids=False,
        ),
    )
}
"""Every corpus by the name that its mentions carry as ``source``."""


def allows_commercial_use(name: str) -> bool:
    """Whether mentions of this source may be used commercially; a source that is not registered is its user's own."""
    return name not in SOURCES or SOURCES[name].commercial_use
