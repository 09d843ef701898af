package asl_test

import (
	"reflect"
	"testing"

	"github.com/buildit-dev/buildit/internal/asl"
)

// TestVariableReferences: variables are read by paths, by names that end in .$ and
// by arguments of functions, and by nothing else that begins with $.
func TestVariableReferences(t *testing.T) {
	t.Parallel()
	got, err := asl.VariableReferences([]byte(`{"StartAt":"M","States":{
		"M":{"Type":"Map","ItemsPath":"$list","ItemSelector":{"a.$":"States.Format('{}', $b.c)","dPath":"$d","e":"$e","f.$":"$$.Map.Item.Value"},
			"ItemProcessor":{"StartAt":"I","States":{"I":{"Type":"Pass","Result":{"xPath":"$x"},"InputPath":"$inner[0]","End":true}}},"Next":"P"},
		"P":{"Type":"Parallel","Branches":[{"StartAt":"T","States":{"T":{"Type":"Task","Resource":"r","TimeoutSecondsPath":"$t",
			"Catch":[{"ErrorEquals":["States.ALL"],"ResultPath":"$.r","Assign":{"z.$":"$caught"},"Next":"T"}],"End":true}}}],"Next":"C"},
		"C":{"Type":"Choice","Choices":[{"And":[{"Variable":"$v","IsPresent":true},{"Variable":"$.in","NumericEqualsPath":"$w"}],"Next":"F"}]},
		"F":{"Type":"Fail","CausePath":"States.JsonToString($why)","Error":"$no"}}}`))
	want := map[string][]string{"M": {"b", "list"}, "I": {"inner"}, "T": {"caught", "t"}, "C": {"v", "w"}, "F": {"why"}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
}
