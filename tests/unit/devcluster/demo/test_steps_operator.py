"""The operator's messages among the lines of its log."""

from kagenti_devcluster.demo.steps_operator import MESSAGES, find_messages, parse_log

LINES = [
    "a line of something else",
    '{"broken',
    '{"level":"info","msg":"MLflow CRD detected, discovering MLflow CR"}',
    '{"msg":"Found available MLflow CR","name":"mlflow","tracesURL":"https://m/v1/traces"}',
    '{"msg":"Created/found MLflow experiment","name":"kagenti-traces","workspace":"t","experimentID":"7"}',
    '{"msg":"OTel collector bootstrap complete","experimentID":"7"}',
]


def test_the_four_messages_are_found_among_others():
    found = find_messages(parse_log(LINES))
    assert found.keys() == MESSAGES.keys()
    assert found["Created/found MLflow experiment"]["experimentID"] == "7"


def test_a_message_without_its_keys_does_not_count():
    assert find_messages(parse_log(['{"msg":"Found available MLflow CR","name":"mlflow"}'])) == {}
