// Makes elements. Whatever comes from a post, a file or the server becomes text here, and never markup.

/**
 * An element with its classes (`"span.intent.praise"`), attributes and children (elements, texts, or nothing).
 */
export function element(name, attributes, ...children) {
  const [tag, ...classes] = name.split(".");
  const made = document.createElement(tag);
  made.classList.add(...classes);
  for (const [key, value] of Object.entries(attributes ?? {})) made.setAttribute(key, value);
  made.append(...children.filter((child) => child !== null && child !== ""));
  return made;
}

/** The element of the page with this id. */
export const byId = (id) => document.getElementById(id);
