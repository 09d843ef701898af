package asl

import (
	"slices"
	"strings"
)

// Resource is what a Task calls.
//
// Source: Developer Guide, "Integrating services".
type Resource struct {
	ARN     string  // as the definition has it
	Kind    Kind    //
	Service string  // of an integration: "lambda", "aws-sdk:s3"
	Action  string  // "invoke"
	Pattern Pattern //
}

// Kind is one of the three kinds of resources.
type Kind int

// Kinds of resources.
const (
	FunctionARN Kind = iota // a Lambda function by its ARN: input and output are the payloads
	Activity                // somebody polls for it
	Integration             // arn:aws:states:::service:action
)

// Pattern says when an integration is done.
type Pattern string

// Patterns of integrations, as the end of the resource spells them.
const (
	RequestResponse Pattern = ""                  // when the call is answered
	Sync            Pattern = ".sync"             // when the job has ended
	Sync2           Pattern = ".sync:2"           // likewise, with its output as JSON
	Callback        Pattern = ".waitForTaskToken" // when somebody brings the token back
)

// integrations are the optimised ones, by service. * is any action.
var integrations = map[string][]string{
	"apigateway":       {"invoke"},
	"athena":           {"startQueryExecution", "stopQueryExecution", "getQueryExecution", "getQueryResults"},
	"batch":            {"submitJob"},
	"bedrock":          {"invokeModel", "createModelCustomizationJob"},
	"codebuild":        {"startBuild", "stopBuild", "batchDeleteBuilds", "batchGetReports", "startBuildBatch", "stopBuildBatch", "retryBuildBatch", "deleteBuildBatch"},
	"databrew":         {"startJobRun"},
	"dynamodb":         {"getItem", "putItem", "updateItem", "deleteItem"},
	"ecs":              {"runTask"},
	"eks":              {"*"},
	"elasticmapreduce": {"*"},
	"emr-containers":   {"*"},
	"emr-serverless":   {"*"},
	"events":           {"putEvents"},
	"glue":             {"startJobRun"},
	"http":             {"invoke"},
	"lambda":           {"invoke"},
	"mediaconvert":     {"createJob"},
	"sagemaker":        {"*"},
	"sns":              {"publish"},
	"sqs":              {"sendMessage"},
	"states":           {"startExecution"},
}

// parseResource reads a Resource. ${name}, which the CDK replaces by an ARN, is
// the function of that name at home.
func parseResource(arn string) (Resource, bool) {
	r := Resource{ARN: arn}
	if strings.HasPrefix(arn, "${") && strings.HasSuffix(arn, "}") {
		return r, true
	}
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) < 6 || parts[0] != "arn" {
		return r, false
	}
	switch rest := parts[5]; {
	case parts[2] == "lambda" && strings.HasPrefix(rest, "function:"):
		return r, true
	case parts[2] == "states" && strings.HasPrefix(rest, "activity:"):
		r.Kind = Activity
		return r, true
	case parts[2] == "states" && parts[3] == "" && parts[4] == "":
		return r.integration(rest)
	}
	return r, false
}

func (r Resource) integration(name string) (Resource, bool) {
	r.Kind = Integration
	for _, p := range []Pattern{Sync, Sync2, Callback} {
		if plain, ok := strings.CutSuffix(name, string(p)); ok {
			name, r.Pattern = plain, p
			break
		}
	}
	cut := strings.LastIndex(name, ":")
	if cut < 0 {
		return r, false
	}
	r.Service, r.Action = name[:cut], name[cut+1:]
	if sdk, ok := strings.CutPrefix(r.Service, "aws-sdk:"); ok {
		return r, sdk != "" && r.Action != "" && r.Pattern != Sync && r.Pattern != Sync2
	}
	actions := integrations[r.Service]
	return r, slices.Contains(actions, r.Action) || slices.Contains(actions, "*")
}

// waits says whether the answer of the call is not yet the end of the task.
func (r Resource) waits() bool { return r.Pattern != RequestResponse }

// starts says whether the task waits for the end of what its call started.
func (r Resource) starts() bool { return r.Pattern == Sync || r.Pattern == Sync2 }

// needsToken says whether the task has a token that is brought back.
func (r Resource) needsToken() bool { return r.Pattern == Callback || r.Kind == Activity }

// Function is the name of the Lambda function that a task calls by ARN.
func (r Resource) Function() string {
	if name, ok := strings.CutPrefix(r.ARN, "${"); ok {
		return strings.TrimSuffix(name, "}")
	}
	parts := strings.Split(r.ARN, ":")
	if at := slices.Index(parts, "function"); at >= 0 && at+1 < len(parts) {
		return parts[at+1]
	}
	return ""
}
