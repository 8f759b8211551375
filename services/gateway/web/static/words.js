// The server's errors in the words of the page, and times as people write them.

const EXACT = {
  "acc not found": "That username and pin do not go together. Please check both.",
  "username is taken": "That username is taken. Please choose another one.",
  "failed to create account":
    "The account could not be made. Usernames have 3 to 32 characters, pins 4 to 128.",
  "too many attempts, try again later":
    "Too many attempts. Please wait a little before you try again.",
  "too many requests, slow down": "That was too fast for the server. Please wait a moment.",
  "service unavailable, try again": "The server is busy just now. Please try again.",
  "failed to send message": "the server could not store it just now",
  "failed to get friends": "The list of friends could not be loaded.",
};

const BEGINNING = [
  [
    "failed to send friend request to ",
    (who) => `No request could be sent to ${who}. Perhaps nobody has this id, or you are friends already.`,
  ],
  ["no friend request from ", (who) => `${who} has no open request any more.`],
  ["failed to add friend ", (who) => `${who} could not be added just now. Please try again.`],
  ["failed to deny friend ", (who) => `The request of ${who} could not be denied just now. Please try again.`],
];

// kindly says an error of the server kindly; what is unknown is said as it came.
export function kindly(error) {
  if (Object.hasOwn(EXACT, error)) return EXACT[error];
  const known = BEGINNING.find(([start]) => error.startsWith(start));
  return known ? known[1](error.slice(known[0].length)) : error;
}

const timeFormat = new Intl.DateTimeFormat(undefined, { hour: "numeric", minute: "2-digit" });
const dayFormat = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });
const oldDayFormat = new Intl.DateTimeFormat(undefined, { dateStyle: "long" });
const shortDayFormat = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const DAY_MS = 86_400_000;

export const timeOf = (at) => timeFormat.format(at);

export const dayKey = (at) => new Date(at).toDateString();

export function dayOf(at) {
  if (dayKey(at) === dayKey(Date.now())) return "Today";
  if (dayKey(at) === dayKey(Date.now() - DAY_MS)) return "Yesterday";
  return Math.abs(Date.now() - at) < 180 * DAY_MS ? dayFormat.format(at) : oldDayFormat.format(at);
}

// shortTimeOf is the time today, and the day before.
export const shortTimeOf = (at) =>
  dayKey(at) === dayKey(Date.now()) ? timeOf(at) : shortDayFormat.format(at);
