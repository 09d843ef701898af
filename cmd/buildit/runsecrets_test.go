package main

import (
	"bufio"
	"strings"
	"testing"
)

// FuzzParseSecrets: whatever a file of secrets holds, a message about it shows no
// value of it, and a name is one that an environment can carry.
func FuzzParseSecrets(f *testing.F) {
	f.Add("A=b\n", "# c\nexport B='x'\n", "C=\"a\\n\\\"b\"\n")
	f.Add("A=\"open", "swordfish", "=x")
	f.Fuzz(func(t *testing.T, a, b, c string) {
		const value = "swordfish-value"
		secrets := make(map[string]string)
		err := parseSecrets(bufio.NewScanner(strings.NewReader(a+"\nX='"+value+"\n"+b+value+c)), ".env", secrets)
		if err != nil && strings.Contains(err.Error(), value) {
			t.Errorf("%v", err)
		}
		for name, value := range secrets {
			if !isVariable(name) || value == "" {
				t.Errorf("%q = %q", name, value)
			}
		}
	})
}

func TestUnquote(t *testing.T) {
	for text, want := range map[string]string{
		`plain`: `plain`, `a "b" c`: `a "b" c`, `'x\n$y'`: `x\n$y`, `"a\nb"`: "a\nb", `"\"\\\$\t"`: `"\$\t`, `''`: ``,
	} {
		if got, ok := unquote(text); !ok || got != want {
			t.Errorf("%s: %q %v, want %q", text, got, ok, want)
		}
	}
	for _, text := range []string{`"a`, `'a`, `"`, `"a\"`, `"a"b"`, `'a'b'`} {
		if got, ok := unquote(text); ok {
			t.Errorf("%s: %q", text, got)
		}
	}
}
