package accounts

import (
	"strings"
	"unicode/utf8"

	"golang.org/x/text/secure/precis"

	"pymessage/internal/fault"
)

// maxUsernameBytes bounds the work on a name before it is normalized, which may
// make it shorter: 32 letters, each written as four code points of four bytes.
const maxUsernameBytes = maxUsername * 4 * utf8.UTFMax

// username is a name that keeps the rules of RFC 8265.
type username struct {
	shown string // as others see it, case preserved
	key   string // the same for all spellings that count as one name
}

// checkUsername normalizes raw, or says why it cannot be a username.
func checkUsername(raw string) (username, error) {
	if len(raw) > maxUsernameBytes {
		return username{}, badUsernameLength()
	}
	shown, err := precis.UsernameCasePreserved.String(raw)
	if err != nil {
		return username{}, fault.Wrap(fault.Invalid, err, "username has a character that is not allowed")
	}
	if n := utf8.RuneCountInString(shown); n < minUsername || n > maxUsername {
		return username{}, badUsernameLength()
	}
	key, err := precis.UsernameCaseMapped.CompareKey(shown)
	if err != nil {
		return username{}, fault.Wrap(fault.Invalid, err, "username has a character that is not allowed")
	}
	return username{shown, key}, nil
}

func badUsernameLength() error {
	return fault.New(fault.Invalid, "username must have %d to %d characters", minUsername, maxUsername)
}

// checkPin says why pin cannot be one. Pins are compared code point by code
// point: "0042" is not "42". U+FFFD is what decoders make of broken UTF-8; with
// it many pins would become the same.
func checkPin(pin string) error {
	if strings.ContainsRune(pin, utf8.RuneError) {
		return fault.New(fault.Invalid, "pin is not valid UTF-8")
	}
	if strings.ContainsRune(pin, 0) {
		return fault.New(fault.Invalid, "pin must not contain NUL")
	}
	if n := utf8.RuneCountInString(pin); n < minPin || n > maxPin {
		return fault.New(fault.Invalid, "pin must have %d to %d characters", minPin, maxPin)
	}
	return nil
}
